//! Saturation, as far as it can be seen from outside.
//!
//! Little's law: requests inside at a time = rate · mean time, `L = λ·W`. As long as a service has room, more of them at a
//! time mean a higher rate; beyond its knee they mean longer times and nothing else. How full it is in percent
//! (`ρ = λ·S/c`) takes the number of its servers, which no span tells.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    graph::identity,
    rollup::{Cell, Corrupt, Key, Rollup},
    view::{Context, milliseconds, ratio},
};

/// Slots of a window that are compared.
const SLOTS: u32 = 24;
/// Least number of timed requests of a slot whose mean says something.
const LEAST: i64 = 30;
/// Least number of such slots: of three in the top quarter one may be luck, half of them is not.
const LEAST_SLOTS: usize = 12;
/// The rate does not grow when it grows by less than this …
const FLAT: f64 = 1.1;
/// … while the times grow by this.
const LONGER: f64 = 1.5;

/// What a service does when few and when many requests are inside: medians of the slots of a window in its lower half and
/// its upper quarter by requests at a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = SaturationKnee))]
pub struct Knee {
    /// Requests at a time when few are inside.
    pub low_in_flight: f64,
    /// Requests per second then.
    pub low_rate: f64,
    /// Their mean time.
    pub low_mean_ms: f64,
    /// Requests at a time when many are inside.
    pub high_in_flight: f64,
    /// Requests per second then: no more than a tenth above.
    pub high_rate: f64,
    /// Their mean time: at least half as long again.
    pub high_mean_ms: f64,
    /// Slots of the window with at least 30 timed requests.
    pub slots: usize,
}

/// Knees by id of the service.
pub type Knees = BTreeMap<String, Knee>;

/// The services of a window that are beyond their knee some of the time.
pub fn knees<'a>(
    blobs: impl IntoIterator<Item = (u32, &'a [u8])>,
    context: &Context<'_>,
) -> Result<Knees, Corrupt> {
    let window = context.range.minutes;
    let length = window.len().div_ceil(SLOTS).max(context.range.grain).max(1);
    let inside = blobs.into_iter().filter(|(minute, _)| (window.from..window.to).contains(minute));
    let wanted = |table: &crate::rollup::Table, key: Key| match key {
        Key::Request(node) => context.includes(table.describe(node).1[0]),
        _ => false,
    };
    let rollup = Rollup::fold_by(inside, |minute| minute / length, wanted)?;
    let mut services: BTreeMap<u32, Vec<&Cell>> = BTreeMap::new();
    for (&(_, key), cell) in &rollup.table.cells {
        if let Key::Request(node) = key {
            services.entry(node).or_default().push(cell);
        }
    }
    let seconds = f64::from(length) * 60.0;
    let knee = |(node, cells): (u32, Vec<&Cell>)| {
        let id = identity::node(rollup.table.node_of(node), &rollup.table).id;
        Some((id, knee_of(&cells, seconds)?))
    };
    Ok(services.into_iter().filter_map(knee).collect())
}

/// Rate, mean time in microseconds, and what is inside.
type Slot = (f64, f64, f64);

fn knee_of(cells: &[&Cell], seconds: f64) -> Option<Knee> {
    let slot = |cell: &&Cell| {
        let (rate, mean) = (cell.weight as f64 / 256.0 / seconds, cell.mean_us()?);
        (cell.timed >= LEAST).then_some((rate, mean, rate * mean / 1e6))
    };
    let mut slots: Vec<Slot> = cells.iter().filter_map(slot).collect();
    if slots.len() < LEAST_SLOTS {
        return None;
    }
    slots.sort_by(|a, b| a.2.total_cmp(&b.2).then_with(|| a.0.total_cmp(&b.0)));
    let (low, high) = (&slots[..slots.len() / 2], &slots[slots.len() - slots.len() / 4..]);
    let [low, high] = [low, high].map(|part| {
        let of = |value: fn(&Slot) -> f64| median(part.iter().map(value).collect());
        (of(|slot| slot.0), of(|slot| slot.1), of(|slot| slot.2))
    });
    let rounded = |value: f64| ratio(Some(value)).unwrap_or(0.0);
    let ms = |us: f64| milliseconds(Some(us)).unwrap_or(0.0);
    (high.0 <= FLAT * low.0 && high.1 >= LONGER * low.1).then(|| Knee {
        low_in_flight: rounded(low.2),
        low_rate: rounded(low.0),
        low_mean_ms: ms(low.1),
        high_in_flight: rounded(high.2),
        high_rate: rounded(high.0),
        high_mean_ms: ms(high.1),
        slots: slots.len(),
    })
}

/// The middle one, the lower of two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::Facts,
        graph::tests::context,
        ids::TraceId,
        infer::testing::{START_NS, server},
        rollup::Delta,
        window::{Minutes, Range},
    };

    /// A minute for each slot: requests of a service, and how long they take.
    fn found(slots: &[(u64, u64)]) -> Knees {
        let first = u32::try_from(START_NS / 60_000_000_000).unwrap();
        let mut sum = Delta::default();
        for (minute, &(requests, ms)) in (0u64..).zip(slots) {
            for at in 0..requests {
                let id = u128::from(minute * 1_000_000 + at + 1);
                let span = Facts {
                    trace_id: TraceId::from_bytes(id.to_be_bytes()).unwrap(),
                    start_ns: START_NS + minute * 60_000_000_000,
                    duration_ns: Some(ms * 1_000_000),
                    ..server("till", 1, 0)
                };
                crate::infer::contribute(&mut sum, &[span]);
            }
        }
        let blobs = sum.encode();
        let to = first + u32::try_from(slots.len()).unwrap();
        let range = Range { name: "custom", minutes: Minutes { from: first, to }, grain: 1 };
        let context = Context { range, ..context() };
        knees(blobs.iter().map(|(minute, blob)| (*minute, &blob[..])), &context).unwrap()
    }

    #[test]
    fn longer_times_at_the_same_rate_are_a_knee() {
        let busy = |rate: u64, ms: u64| [vec![(100, 10); 12], vec![(rate, ms); 12]].concat();
        let knee = found(&busy(105, 80))["till"];
        assert_eq!((knee.low_mean_ms, knee.high_mean_ms, knee.slots), (10.0, 80.0, 24));
        assert!((knee.low_rate - 100.0 / 60.0).abs() < 1e-5 && (knee.high_rate - 1.75).abs() < 1e-5);
        assert!((knee.high_in_flight - 0.14).abs() < 1e-5, "1.75 a second of 80 ms each");
        assert!(found(&busy(200, 80)).is_empty(), "twice as many requests are served, if slowly");
        assert!(found(&busy(105, 14)).is_empty(), "a little longer");
        assert!(found(&vec![(20, 10); 24]).is_empty(), "too few requests to tell");
        assert!(found(&[(100, 10), (100, 90)]).is_empty(), "two slots are none");
    }
}
