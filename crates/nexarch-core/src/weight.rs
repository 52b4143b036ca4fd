//! How many spans a sampled span stands for (rule R11).
//!
//! OpenTelemetry's consistent probability sampling writes its rejection threshold into `tracestate`:
//! `ot=th:T`, where T is up to 14 hex digits of a 56-bit fraction. A span is kept when its 56 random bits are at
//! least T, so it stands for 2^56 / (2^56 − T) spans (opentelemetry-specification, `trace/tracestate-handling.md`).

/// A weight of one span: [`weight`] counts in 1/256.
pub const ONE: u32 = 256;

/// 2^56: one more than the largest threshold.
const RANGE: u64 = 1 << 56;

/// The rejection threshold in a `tracestate`, a 56-bit number; `None` when there is none or it is malformed.
pub fn threshold(trace_state: &str) -> Option<u64> {
    if trace_state.is_empty() {
        return None;
    }
    let member = trace_state.split(',').find_map(|member| member.trim().strip_prefix("ot="))?;
    let digits = member.split(';').find_map(|part| part.strip_prefix("th:"))?;
    let valid = (1..=14).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = valid.then(|| u64::from_str_radix(digits, 16).ok()).flatten()?;
    Some(number << (4 * (14 - digits.len())))
}

/// The weight of a span with this `tracestate` in 1/256, rounded to nearest, at most `u32::MAX`;
/// [`ONE`] without a valid threshold.
///
/// ```
/// use nexarch_core::weight::weight;
/// assert_eq!(weight("ot=th:0"), 256);
/// assert_eq!(weight("vendor=x,ot=rv:6e6d1a75832a2f;th:c"), 4 * 256);
/// assert_eq!(weight(""), 256);
/// ```
pub fn weight(trace_state: &str) -> u32 {
    of_threshold(threshold(trace_state))
}

/// The same from a [`threshold`].
pub(crate) fn of_threshold(threshold: Option<u64>) -> u32 {
    let Some(threshold) = threshold else { return ONE };
    let kept = u128::from(RANGE - threshold);
    let weight = ((u128::from(RANGE) << 8) + kept / 2) / kept;
    u32::try_from(weight).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{ONE, threshold, weight};

    #[test]
    fn examples_of_the_specification() {
        assert_eq!(weight("ot=th:0"), ONE);
        assert_eq!(weight("ot=th:8"), 2 * ONE);
        assert_eq!(weight("ot=th:c"), 4 * ONE);
        // 1 in 100, the threshold rounded to 24 bits.
        assert_eq!(weight("ot=th:fd70a4"), 25_600);
        assert_eq!(weight("a=1, ot=p:8;th:FD70A4 ,b=2"), 25_600);
    }

    #[test]
    fn the_largest_threshold_saturates() {
        assert_eq!(threshold("ot=th:ffffffffffffff"), Some((1 << 56) - 1));
        assert_eq!(weight("ot=th:ffffffffffffff"), u32::MAX);
    }

    #[test]
    fn malformed_thresholds_count_as_none() {
        for text in
            ["ot=th:", "ot=th:g", "ot=th:123456789abcdef", "ot=th:-1", "ot=th:+1", "not=th:8", "th:8", "ot="]
        {
            assert_eq!((threshold(text), weight(text)), (None, ONE), "{text}");
        }
    }

    #[test]
    fn rounding_is_to_nearest() {
        // 2^56 / (2^56 - 0.4 * 2^56) = 5/3 = 426.67/256.
        assert_eq!(weight("ot=th:66666666666666"), 427);
    }
}
