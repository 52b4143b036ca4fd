//! Figures as people read them.

use std::time::Duration;

use jiff::Timestamp;

/// What was not measured.
pub(super) const NOTHING: &str = "–";

/// A count with its thousands apart.
pub(super) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many things.
pub(super) fn things(number: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { more })
}

/// A share of `whole` things in percent; of none there is no share.
pub(super) fn percent(share: f64, whole: u64) -> String {
    if whole == 0 { NOTHING.to_owned() } else { format!("{:.1} %", share * 100.0) }
}

/// Three digits of a time given in milliseconds; 0 is one that was not measured.
pub(super) fn time(ms: f64) -> String {
    let (value, unit) = match ms {
        ms if ms <= 0.0 || ms.is_nan() => return NOTHING.to_owned(),
        ms if ms < 0.9995 => (ms * 1e3, "µs"),
        ms if ms < 999.5 => (ms, "ms"),
        ms if ms < 119_500.0 => (ms / 1e3, "s"),
        ms => (ms / 60e3, "min"),
    };
    format!("{} {unit}", digits(value))
}

/// Bytes in powers of 1024.
pub(super) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    for unit in ["KiB", "MiB", "GiB"] {
        value /= 1024.0;
        if value < 1023.5 {
            return format!("{} {unit}", digits(value));
        }
    }
    format!("{} TiB", digits(value / 1024.0))
}

/// Something per second.
pub(super) fn rate(count: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds <= 0.0 {
        return NOTHING.to_owned();
    }
    match count as f64 / seconds {
        0.0 => "0".to_owned(),
        rate => format!("{}/s", digits(rate)),
    }
}

/// Three digits, but no fraction of a hundred and more.
fn digits(value: f64) -> String {
    match value {
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// A span of time in its largest unit.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long ago, as of `now`.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = u64::try_from(now.duration_since(at).as_secs()).unwrap_or(0);
    if seconds == 0 { "now".to_owned() } else { format!("{} ago", span(seconds)) }
}

/// A moment in UTC to the second.
pub(super) fn moment(at: Timestamp) -> String {
    at.strftime("%F %T UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_a_unit() {
        let counts: Vec<_> = [0, 999, 1_000, 1_234_567].map(count).into();
        assert_eq!(counts, ["0", "999", "1,000", "1,234,567"]);
        let times: Vec<_> =
            [0.0, f64::NAN, 0.000_41, 0.0042, 0.9994, 0.9996, 12.34, 999.6, 119_000.0, 600_000.0]
                .map(time)
                .into();
        let words =
            ["–", "–", "0.41 µs", "4.20 µs", "999 µs", "1.00 ms", "12.3 ms", "1.00 s", "119 s", "10.0 min"];
        assert_eq!(times, words);
        let sizes: Vec<_> = [0, 1023, 1024, 268_435_456, 1_048_000, 1 << 50].map(bytes).into();
        assert_eq!(sizes, ["0 B", "1023 B", "1.00 KiB", "256 MiB", "1023 KiB", "1024 TiB"]);
        assert_eq!((percent(0.9876, 5), percent(0.0, 0)), ("98.8 %".to_owned(), "–".to_owned()));
    }

    #[test]
    fn rates_and_ages_are_of_what_passed() {
        let second = Duration::from_secs(1);
        assert_eq!(rate(3, Duration::ZERO), "–");
        assert_eq!((rate(0, second), rate(5, second * 2)), ("0".to_owned(), "2.50/s".to_owned()));
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(ago(at(100), at(100)), "now");
        assert_eq!(ago(at(100), at(99)), "now", "the answer is a moment older than what it tells");
        assert_eq!(ago(at(0), at(119)), "119 s ago");
        assert_eq!(ago(at(0), at(7_199)), "119 min ago");
        assert_eq!(ago(at(0), at(200_000)), "2 d ago");
    }
}
