use proptest::{collection::vec, prelude::*};

use super::*;

#[test]
fn every_bucket_is_where_its_bounds_say() {
    let mut next = 0;
    for index in 0..BUCKETS {
        let (low, width) = bounds(index);
        assert_eq!(low, next, "buckets leave no gap");
        assert_eq!((bucket(low), bucket(low + width - 1)), (index, index));
        assert!(middle_us(index) - low as f64 <= 0.032 * low as f64, "within 3.2 % of {low}");
        next = low + width;
    }
    assert_eq!(next, LONGEST_US + 1);
    assert_eq!((bucket(u64::MAX), bucket(16), bucket(15)), (BUCKETS - 1, 16, 15));
}

#[test]
fn a_quantile_is_the_middle_of_the_bucket_of_rank_q_n() {
    let mut histogram = Histogram::default();
    assert_eq!(histogram.quantile_us(500), None);
    (1..=10).for_each(|us| histogram.record(us, 256));
    assert_eq!(histogram.quantile_us(500), Some(5.0));
    assert_eq!(histogram.quantile_us(950), Some(10.0));
    assert_eq!(histogram.quantile_us(0), Some(1.0));
    histogram.record(3, 256 * 90);
    assert_eq!(histogram.quantile_us(500), Some(3.0), "weights, not counts");
    assert_eq!(histogram.weight_above(9), 256);
}

#[test]
fn a_retracted_weight_leaves_nothing() {
    let mut histogram = Histogram::default();
    histogram.record(100, 256);
    histogram.record(100, -256);
    assert_eq!(histogram, Histogram::default());
    let mut other = Histogram::default();
    other.record(7, i64::MAX);
    other.record(7, 5);
    histogram.merge(&other, 1);
    histogram.merge(&other, -1);
    assert!(histogram.is_empty(), "exact across an overflow");
}

/// Durations of any size, many equal, many at the edges of buckets.
fn durations() -> impl Strategy<Value = Vec<u64>> {
    let edge = (0u32..36, 0u64..3).prop_map(|(e, off)| ((1u64 << e) + off).saturating_sub(1));
    vec(prop_oneof![0..=LONGEST_US, 0..2000u64, edge, Just(12345)], 1..200)
}

fn of(values: &[u64]) -> Histogram {
    let mut histogram = Histogram::default();
    for &us in values {
        histogram.record(us, 256);
    }
    histogram
}

proptest! {
    #[test]
    fn any_split_and_order_merge_to_the_whole(values in durations(), cut in 0usize..200) {
        let (left, right) = values.split_at(cut.min(values.len()));
        let mut merged = of(right);
        merged.merge(&of(left), 1);
        prop_assert_eq!(&merged, &of(&values));
        merged.merge(&of(right), -1);
        prop_assert_eq!(&merged, &of(left));
    }

    #[test]
    fn quantiles_are_within_3_2_percent(values in durations(), per_mille in 0u16..=1000) {
        let mut sorted = values.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * usize::from(per_mille)).div_ceil(1000).max(1);
        let exact = sorted[rank - 1] as f64;
        let found = of(&values).quantile_us(per_mille).unwrap();
        prop_assert!((found - exact).abs() <= 0.032 * exact, "{} for {}", found, exact);
    }
}
