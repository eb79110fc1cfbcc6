//! Times as people write them.

use std::ops::RangeInclusive;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

/// A point in time, or a whole day: nanoseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment(RangeInclusive<u64>);

/// A text is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no time: expected a date (2026-11-20), a date and time (2026-11-20 12:00, perhaps \
     with seconds; 2026-11-20T12:00:00Z), today, yesterday, or such as \"3 days ago\""
)]
pub struct ParseMomentError(String);

impl Moment {
    /// The time that `text` says, at a time when it is `now`. What names no zone is in
    /// that of `now`.
    ///
    /// # Errors
    /// A text of another form.
    pub fn parse(text: &str, now: &Zoned) -> Result<Self, ParseMomentError> {
        let zone = now.time_zone();
        let trimmed = text.trim();
        let parsed = if let Ok(time) = trimmed.parse::<Timestamp>() {
            Some(Self::at(time))
        } else if let Some(date) = date(trimmed, now) {
            Self::day(date, zone)
        } else if let Ok(time) = trimmed.parse::<DateTime>() {
            civil(time, zone)
        } else if let Some((day, time)) = trimmed.split_once(' ')
            && let (Some(date), Ok(time)) = (date(day, now), time.trim().parse::<Time>())
        {
            civil(date.to_datetime(time), zone)
        } else {
            ago(trimmed, now).map(Self::at)
        };
        parsed.ok_or_else(|| ParseMomentError(text.to_owned()))
    }

    fn at(time: Timestamp) -> Self {
        let time = nanoseconds(time);
        Self(time..=time)
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
}

/// What is before 1970 is taken for its start.
fn nanoseconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or(0)
}

fn civil(time: DateTime, zone: &TimeZone) -> Option<Moment> {
    Some(Moment::at(time.to_zoned(zone.clone()).ok()?.timestamp()))
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
            ("2026-11-21 12:00", 11 * HOUR, 11 * HOUR),
            ("2026-11-21T12:00", 11 * HOUR, 11 * HOUR),
            ("2026-11-21 12:00:01.5", 11 * HOUR + 1, 11 * HOUR + 1),
            ("2026-11-21T12:00:00Z", 12 * HOUR, 12 * HOUR),
            ("2026-11-21 12:00:00+02:00", 10 * HOUR, 10 * HOUR),
            ("yesterday 12:00", -13 * HOUR, -13 * HOUR),
            ("2 hours ago", 17 * HOUR / 2, 17 * HOUR / 2),
            (" 1 day ago ", -27 * HOUR / 2, -27 * HOUR / 2),
            ("a week ago", -315 * HOUR / 2, -315 * HOUR / 2),
        ] {
            assert_eq!(parse(text), Ok((start, end)), "{text}");
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
