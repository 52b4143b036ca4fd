//! Cron expressions: five fields, in UTC, as crontab(5) has them.
//!
//! Pure: which moments an expression names. A field is `*`, a number, a name (`JAN`, `MON`), a range (`1-5`), each with a
//! step (`*/15`, `8-18/2`), or several of these between commas. Sunday is 0 or 7. Where both day of the month and day of
//! the week are given, a day that fits either will do; a field that begins with `*` gives none.

use std::{fmt, str::FromStr};

use jiff::{Timestamp, civil::Date, tz::Offset};

/// Longest expression: every minute, named one by one, is shorter.
const MAX_LENGTH: usize = 512;
/// Days that are looked at: 29 February on one day of the week comes at least once in 40 years.
const HORIZON_DAYS: usize = 366 * 41;

/// The other number of Sunday.
const SUNDAY: u8 = 7;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The fields, in order.
const FIELDS: [Field; 5] = [
    Field { name: "minute", low: 0, high: 59, names: &[] },
    Field { name: "hour", low: 0, high: 23, names: &[] },
    Field { name: "day of the month", low: 1, high: 31, names: &[] },
    Field { name: "month", low: 1, high: 12, names: &MONTHS },
    Field { name: "day of the week", low: 0, high: SUNDAY, names: &WEEKDAYS },
];

struct Field {
    name: &'static str,
    low: u8,
    high: u8,
    /// Of the numbers from `low` on.
    names: &'static [&'static str],
}

/// A cron expression.
///
/// ```
/// use nexarch::cron::Schedule;
///
/// let schedule: Schedule = "*/15 8-18 * * MON-FRI".parse().unwrap();
/// let friday = "2026-03-06T18:50:00Z".parse().unwrap();
/// assert_eq!(schedule.after(friday), Some("2026-03-09T08:00:00Z".parse().unwrap()));
/// assert_eq!("0 25 * * *".parse::<Schedule>().unwrap_err(), "field 2 (hour): 25 is not from 0 to 23");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    /// One bit for each number of each field.
    fields: [u64; 5],
    /// Both days are given: either will do.
    either_day: bool,
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({:?})", self.text)
    }
}

impl FromStr for Schedule {
    /// Which field is wrong, and why.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!("has more than {MAX_LENGTH} characters"));
        }
        let parts: Vec<&str> = text.split_ascii_whitespace().collect();
        let parts: [&str; 5] = parts.as_slice().try_into().map_err(|_| {
            let names = FIELDS.each_ref().map(|field| field.name).join(", ");
            format!("has {} fields and needs 5: {names}", parts.len())
        })?;
        let mut fields = [0; 5];
        for (nth, ((part, field), bits)) in parts.iter().zip(&FIELDS).zip(&mut fields).enumerate() {
            *bits = field.parse(part).map_err(|why| format!("field {} ({}): {why}", nth + 1, field.name))?;
        }
        // Sunday has two numbers.
        fields[4] = (fields[4] | fields[4] >> 7) & 0x7f;
        let either_day = !parts[2].starts_with('*') && !parts[4].starts_with('*');
        let this = Self { text: parts.join(" "), fields, either_day };
        if this.after(Timestamp::UNIX_EPOCH).is_none() {
            return Err("names a day that never comes".to_owned());
        }
        Ok(this)
    }
}

impl Field {
    fn parse(&self, text: &str) -> Result<u64, String> {
        let mut bits = 0;
        for item in text.split(',') {
            bits |= self.item(item)?;
        }
        Ok(bits)
    }

    /// `*`, `n`, `n-m`, each with `/step`.
    fn item(&self, text: &str) -> Result<u64, String> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (text, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.low, self.high),
            // A week may end with Sunday, whichever of its two numbers its name has.
            Some((from, to)) => match (self.number(from)?, self.number(to)?) {
                (from @ 1.., 0) if self.high == SUNDAY => (from, SUNDAY),
                range => range,
            },
            // `5/10` goes on to the end, `5` does not.
            None => (self.number(range)?, if step.is_some() { self.high } else { self.number(range)? }),
        };
        if from > to {
            return Err(format!("{range} ends before it begins"));
        }
        let step = match step {
            None => 1,
            Some(step) => {
                let number = step.parse::<u8>().ok().filter(|step| (1..=self.high).contains(step));
                number.ok_or_else(|| format!("the step {step:?} is not from 1 to {}", self.high))?
            }
        };
        Ok((from..=to).step_by(step.into()).fold(0, |bits, number| bits | 1 << number))
    }

    fn number(&self, text: &str) -> Result<u8, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        if let Some(nth) = named.and_then(|nth| u8::try_from(nth).ok()) {
            return Ok(self.low + nth);
        }
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            let kinds =
                if self.names.is_empty() { "a number" } else { "a number or a name of three letters" };
            return Err(format!("{text:?} is not {kinds}"));
        }
        let number = text.parse::<u8>().ok().filter(|number| (self.low..=self.high).contains(number));
        number.ok_or_else(|| format!("{text} is not from {} to {}", self.low, self.high))
    }
}

impl Schedule {
    /// The first moment that it names after `at`; `None` when there is none within a life.
    pub fn after(&self, at: Timestamp) -> Option<Timestamp> {
        let start = Offset::UTC.to_datetime(at);
        let mut minute = Some(
            u32::from(start.hour().cast_unsigned()) * 60 + u32::from(start.minute().cast_unsigned()) + 1,
        );
        let mut date = start.date();
        for _ in 0..HORIZON_DAYS {
            let from = minute.take().unwrap_or(0);
            if self.names_day(date)
                && let Some((hour, minute)) = self.time_from(from)
            {
                return Offset::UTC.to_timestamp(date.at(hour, minute, 0, 0)).ok();
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn names_day(&self, date: Date) -> bool {
        let has = |field: usize, number: i8| self.fields[field] >> number & 1 == 1;
        let (month_day, weekday) = (has(2, date.day()), has(4, date.weekday().to_sunday_zero_offset()));
        let day = if self.either_day { month_day || weekday } else { month_day && weekday };
        has(3, date.month()) && day
    }

    /// The first hour and minute from a minute of the day on.
    fn time_from(&self, from: u32) -> Option<(i8, i8)> {
        let [minutes, hours, ..] = self.fields;
        let fits = |minute: &u32| hours >> (minute / 60) & 1 == 1 && minutes >> (minute % 60) & 1 == 1;
        let minute = (from..24 * 60).find(fits)?;
        Some((i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The first moments after the beginning of Thursday, 1 January 2026.
    fn first(expression: &str, count: usize) -> Vec<String> {
        let schedule: Schedule = expression.parse().unwrap_or_else(|why| panic!("{expression}: {why}"));
        let mut now = at("2025-12-31T23:59:59.999Z");
        let mut next = || {
            now = schedule.after(now)?;
            Some(now.strftime("%m-%d %H:%M").to_string())
        };
        (0..count).filter_map(|_| next()).collect()
    }

    #[test]
    fn expressions_name_the_moments_that_crontab_names() {
        let cases: [(&str, &[&str]); 16] = [
            ("* * * * *", &["01-01 00:00", "01-01 00:01", "01-01 00:02"]),
            ("*/25 * * * *", &["01-01 00:00", "01-01 00:25", "01-01 00:50", "01-01 01:00"]),
            ("5/20 3 * * *", &["01-01 03:05", "01-01 03:25", "01-01 03:45", "01-02 03:05"]),
            ("10-14/2 0 * * *", &["01-01 00:10", "01-01 00:12", "01-01 00:14", "01-02 00:10"]),
            ("0 6,18 * * *", &["01-01 06:00", "01-01 18:00", "01-02 06:00"]),
            ("0 0 31 * *", &["01-31 00:00", "03-31 00:00", "05-31 00:00"]),
            ("0 0 29 FEB *", &["02-29 00:00", "02-29 00:00"]),
            ("0 6 * * SAT-SUN", &["01-03 06:00", "01-04 06:00", "01-10 06:00"]),
            ("0 6 * * FRI-7", &["01-02 06:00", "01-03 06:00", "01-04 06:00", "01-09 06:00"]),
            ("0 0 * JAN-mar SUN", &["01-04 00:00", "01-11 00:00"]),
            ("0 0 * * 7", &["01-04 00:00", "01-11 00:00"]),
            ("0 0 * * 5-7", &["01-02 00:00", "01-03 00:00", "01-04 00:00", "01-09 00:00"]),
            ("0 0 * * 0-7", &["01-01 00:00", "01-02 00:00"]),
            // Both days: either.
            ("0 0 13 * FRI", &["01-02 00:00", "01-09 00:00", "01-13 00:00", "01-16 00:00"]),
            // One of them begins with a star: both.
            ("0 0 13 * */5", &["02-13 00:00", "03-13 00:00"]),
            ("59 23 31 12 *", &["12-31 23:59", "12-31 23:59"]),
        ];
        for (expression, moments) in cases {
            assert_eq!(first(expression, moments.len()), moments, "{expression}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_field() {
        let cases = [
            ("", "has 0 fields and needs 5: minute, hour, day of the month, month, day of the week"),
            ("* * * *", "has 4 fields and needs 5: minute, hour, day of the month, month, day of the week"),
            (
                "0 * * * * *",
                "has 6 fields and needs 5: minute, hour, day of the month, month, day of the week",
            ),
            ("60 * * * *", "field 1 (minute): 60 is not from 0 to 59"),
            ("*/0 * * * *", "field 1 (minute): the step \"0\" is not from 1 to 59"),
            ("*/ * * * *", "field 1 (minute): the step \"\" is not from 1 to 59"),
            ("1,,2 * * * *", "field 1 (minute): \"\" is not a number"),
            ("-1 * * * *", "field 1 (minute): \"\" is not a number"),
            ("+1 * * * *", "field 1 (minute): \"+1\" is not a number"),
            ("0 9-5 * * *", "field 2 (hour): 9-5 ends before it begins"),
            ("0 999999999999 * * *", "field 2 (hour): 999999999999 is not from 0 to 23"),
            ("0 0 0 * *", "field 3 (day of the month): 0 is not from 1 to 31"),
            ("0 0 L * *", "field 3 (day of the month): \"L\" is not a number"),
            ("0 0 * JANUARY *", "field 4 (month): \"JANUARY\" is not a number or a name of three letters"),
            (
                "0 0 * * MOON",
                "field 5 (day of the week): \"MOON\" is not a number or a name of three letters",
            ),
            ("0 0 * * **", "field 5 (day of the week): \"**\" is not a number or a name of three letters"),
            ("0 0 30 2 *", "names a day that never comes"),
        ];
        for (expression, why) in cases {
            assert_eq!(expression.parse::<Schedule>().unwrap_err(), why, "{expression}");
        }
        assert!("1,".repeat(300).parse::<Schedule>().unwrap_err().contains("512"));
    }

    proptest! {
        /// Nobody's text makes it fail, and the next moment is later, whole, and the first that fits.
        #[test]
        fn any_text_is_an_expression_or_an_error(text in "[0-9*/,A-Za-z -]{0,40}", seconds in 0i64..4_000_000_000) {
            if let Ok(schedule) = text.parse::<Schedule>() {
                let now = Timestamp::from_second(seconds).unwrap();
                let next = schedule.after(now).unwrap();
                prop_assert!(next > now && next.as_second() % 60 == 0);
                let before = Timestamp::from_second(next.as_second() - 1).unwrap();
                prop_assert_eq!(schedule.after(before), Some(next));
            }
        }
    }
}
