//! From what people write to a range of time.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// The instant of a text: RFC 3339, or a date, which is its first instant in UTC, or, as the end of a range, its last.
pub(super) fn instant(text: &str, is_end: bool) -> Option<i64> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant.as_millisecond());
    }
    let date: Date = text.parse().ok()?;
    let date = if is_end { date.tomorrow().ok()? } else { date };
    let instant = date.to_zoned(TimeZone::UTC).ok()?;
    Some(instant.timestamp().as_millisecond())
}

/// RFC 3339 in UTC; the epoch for what is beyond all calendars.
pub(super) fn text(ms: i64) -> String {
    Timestamp::from_millisecond(ms)
        .unwrap_or_default()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::{instant, text};

    #[test]
    fn a_date_begins_with_its_first_instant_and_ends_with_its_last() {
        let shown = |given, is_end| instant(given, is_end).map(text);
        assert_eq!(shown("2026-11-21", false).unwrap(), "2026-11-21T00:00:00Z");
        assert_eq!(shown("2026-11-21", true).unwrap(), "2026-11-22T00:00:00Z");
        let local = shown("2026-11-21T12:30:00+02:00", true).unwrap();
        assert_eq!(local, "2026-11-21T10:30:00Z");
        for wrong in ["", "yesterday", "2026-13-01", "9999-12-31T"] {
            assert_eq!(shown(wrong, false), None, "{wrong}");
        }
    }
}
