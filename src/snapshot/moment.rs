//! Times as people write them.

use std::ops::RangeInclusive;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, Timestamp, Zoned};

/// A time as exact as it was written: a second, a minute, a day; nanoseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment(RangeInclusive<u64>);

/// Why a text is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseMomentError {
    /// It has another form.
    #[error(
        "{0:?} is no time: expected a date (2026-11-20), a date and time (2026-11-20 12:00, \
         perhaps with seconds; 2026-11-20T12:00:00Z), today, yesterday, or such as \"3 days ago\""
    )]
    Form(String),
    /// Clocks are put back that day, and show it twice.
    #[error("{0:?} was twice, since clocks were put back: say which, {1} or {2}")]
    Twice(String, Timestamp, Timestamp),
}

impl Moment {
    /// The time that `text` says, at a time when it is `now`. What names no zone is in
    /// that of `now`.
    ///
    /// # Errors
    /// A text of another form.
    pub fn parse(text: &str, now: &Zoned) -> Result<Self, ParseMomentError> {
        let zone = now.time_zone();
        let trimmed = text.trim();
        let civil = |time: DateTime| {
            let zoned = zone.to_ambiguous_zoned(time);
            if let AmbiguousOffset::Fold { before, after } = zoned.offset()
                && let (Ok(first), Ok(second)) =
                    (before.to_timestamp(time), after.to_timestamp(time))
            {
                return Err(ParseMomentError::Twice(text.to_owned(), first, second));
            }
            let time = zoned.compatible().ok().map(|zoned| zoned.timestamp());
            Ok(time.map(|time| Self::within(time, unit(trimmed))))
        };
        let parsed = if let Ok(time) = trimmed.parse::<Timestamp>() {
            Some(Self::within(time, unit(trimmed)))
        } else if let Some(date) = date(trimmed, now) {
            Self::day(date, zone)
        } else if let Ok(time) = trimmed.parse::<DateTime>() {
            civil(time)?
        } else if let Some((day, time)) = trimmed.split_once(' ')
            && let (Some(date), Ok(time)) = (date(day, now), time.trim().parse::<Time>())
        {
            civil(date.to_datetime(time))?
        } else {
            ago(trimmed, now).map(|time| Self::within(time, 1))
        };
        parsed.ok_or_else(|| ParseMomentError::Form(text.to_owned()))
    }

    /// From `time` on, as long as what was written does not change.
    fn within(time: Timestamp, unit: u64) -> Self {
        let time = nanoseconds(time);
        Self(time..=time.saturating_add(unit - 1))
    }

    fn day(date: Date, zone: &TimeZone) -> Option<Self> {
        let start = date.to_zoned(zone.clone()).ok()?.timestamp();
        let end = date.tomorrow().ok()?.to_zoned(zone.clone()).ok()?;
        let end = nanoseconds(end.timestamp()).saturating_sub(1);
        Some(Self(nanoseconds(start)..=end))
    }

    /// The first nanosecond.
    #[must_use]
    pub const fn start(&self) -> u64 {
        *self.0.start()
    }

    /// The last nanosecond: of a day its end.
    #[must_use]
    pub const fn end(&self) -> u64 {
        *self.0.end()
    }

    /// Whether `time`, in nanoseconds since 1970, is what was written.
    #[must_use]
    pub fn contains(&self, time: u64) -> bool {
        self.0.contains(&time)
    }

    /// How far `time` is from what was written, in nanoseconds.
    #[must_use]
    pub const fn distance(&self, time: u64) -> u64 {
        let after = time.saturating_sub(self.end());
        self.start().saturating_sub(time) + after
    }
}

/// Nanoseconds in the least unit of a date and time that is written: 12, 12:00 and
/// 12:00:00 are an hour, a minute and a second.
fn unit(text: &str) -> u64 {
    const SECOND: u64 = 1_000_000_000;
    let time = text
        .split_once(['T', 't', ' '])
        .map_or("", |(_, time)| time);
    let zone = time.find(['Z', 'z', '+', '-', '[']).unwrap_or(time.len());
    let time = time.get(..zone).unwrap_or(time);
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).count();
    if let Some((_, fraction)) = time.split_once(['.', ',']) {
        let digits = u32::try_from(digits(fraction)).unwrap_or(9);
        return 10_u64.pow(9_u32.saturating_sub(digits));
    }
    match digits(time) {
        ..=2 => 3600 * SECOND,
        3..=4 => 60 * SECOND,
        _ => SECOND,
    }
}

/// What is before 1970 is taken for its start.
fn nanoseconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or(0)
}

fn date(text: &str, now: &Zoned) -> Option<Date> {
    match text {
        "today" => Some(now.date()),
        "yesterday" => now.date().yesterday().ok(),
        // `Date` would take the date of a date and time.
        _ if text.len() == "2026-11-20".len() => text.parse().ok(),
        _ => None,
    }
}

/// Such as `3 days ago`.
fn ago(text: &str, now: &Zoned) -> Option<Timestamp> {
    let mut words = text.split_whitespace();
    let (count, unit) = (words.next()?, words.next()?);
    if words.next() != Some("ago") || words.next().is_some() {
        return None;
    }
    let count: i64 = match count {
        "a" | "an" => 1,
        _ => count.parse().ok().filter(|count| *count >= 0)?,
    };
    let span = match unit.strip_suffix('s').unwrap_or(unit) {
        "second" => Span::new().try_seconds(count),
        "minute" => Span::new().try_minutes(count),
        "hour" => Span::new().try_hours(count),
        "day" => Span::new().try_days(count),
        "week" => Span::new().try_weeks(count),
        "month" => Span::new().try_months(count),
        "year" => Span::new().try_years(count),
        _ => return None,
    };
    Some(now.checked_sub(span.ok()?).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(i64, i64), ParseMomentError> {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let now = "2026-11-21T10:30:00Z".parse::<Timestamp>().unwrap();
        let moment = Moment::parse(text, &now.to_zoned(zone))?;
        let base = "2026-11-21T00:00:00Z".parse::<Timestamp>().unwrap();
        let seconds = |time: u64| time.cast_signed() / 1_000_000_000 - base.as_second();
        Ok((seconds(moment.start()), seconds(moment.end())))
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        const HOUR: i64 = 3600;
        for (text, start, end) in [
            ("today", -HOUR, 23 * HOUR - 1),
            ("yesterday", -25 * HOUR, -HOUR - 1),
            ("2026-11-21", -HOUR, 23 * HOUR - 1),
            ("2026-11-21 12:00", 11 * HOUR, 11 * HOUR + 59),
            ("2026-11-21T12:00", 11 * HOUR, 11 * HOUR + 59),
            ("2026-11-21 12:00:00", 11 * HOUR, 11 * HOUR),
            ("2026-11-21T12", 11 * HOUR, 12 * HOUR - 1),
            ("2026-11-21 12:00:01.5", 11 * HOUR + 1, 11 * HOUR + 1),
            ("2026-11-21T12:00:00Z", 12 * HOUR, 12 * HOUR),
            ("2026-11-21T12:00Z", 12 * HOUR, 12 * HOUR + 59),
            ("2026-11-21 12:00:00+02:00", 10 * HOUR, 10 * HOUR),
            ("yesterday 12:00", -13 * HOUR, -13 * HOUR + 59),
            ("2 hours ago", 17 * HOUR / 2, 17 * HOUR / 2),
            (" 1 day ago ", -27 * HOUR / 2, -27 * HOUR / 2),
            ("a week ago", -315 * HOUR / 2, -315 * HOUR / 2),
        ] {
            assert_eq!(parse(text), Ok((start, end)), "{text}");
        }
    }

    #[test]
    fn a_time_is_as_exact_as_it_is_written() {
        let now = "2026-11-21T10:30:00Z".parse::<Timestamp>().unwrap();
        let now = now.to_zoned(TimeZone::UTC);
        for (text, length) in [
            ("2026-11-21", 86_400_000_000_000),
            ("2026-11-21 12:00", 60_000_000_000),
            ("2026-11-21 12:00:01", 1_000_000_000),
            ("2026-11-21 12:00:01.5", 100_000_000),
            ("2026-11-21T12:00:01.012Z", 1_000_000),
            ("2026-11-21T12:00:01.000000001Z", 1),
            ("20261121T120001Z", 1_000_000_000),
        ] {
            let moment = Moment::parse(text, &now).unwrap();
            assert_eq!(moment.end() - moment.start() + 1, length, "{text}");
            assert!(moment.contains(moment.end()) && !moment.contains(moment.end() + 1));
            assert_eq!(moment.distance(moment.end() + 7), 7);
            assert_eq!(moment.distance(moment.start() - 7), 7);
            assert_eq!(moment.distance(moment.start()), 0);
        }
    }

    #[test]
    fn an_hour_that_clocks_show_twice_is_asked_about() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let now = "2026-11-21T10:30:00Z".parse::<Timestamp>().unwrap();
        let now = now.to_zoned(zone);
        let error = Moment::parse("2026-10-25 02:30", &now)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("2026-10-25T00:30:00Z or 2026-10-25T01:30:00Z"),
            "{error}"
        );
        for text in [
            "2026-10-25 03:00",
            "2026-10-25 02:30+02:00",
            "2026-03-29 02:30",
            "2026-10-25",
        ] {
            assert!(Moment::parse(text, &now).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "tomorrow-ish",
            "2026-13-01",
            "2026-11-31",
            "12",
            "-3 days ago",
            "3 days",
            "3 fortnights ago",
            "99999999999 years ago",
            "yesterday 25:00",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
