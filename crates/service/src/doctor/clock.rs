//! Whether this machine's clock can be right: by the age of this program, and by another machine's.

use jiff::fmt::rfc2822;

use super::Finding;
use super::words::span;

/// 2026-11-01T00:00:00Z, before the first of these programs was built: no right clock shows less.
const EARLIEST_MS: i64 = 1_793_491_200_000;
/// A difference that no network or rounding explains: HTTP tells the time to the second.
const OFFSET_MAX_MS: i64 = 5_000;

/// What this machine's clock says, alone.
pub fn sane(now_ms: i64) -> Finding {
    let shown = shown(now_ms);
    if now_ms < EARLIEST_MS {
        return Finding::warn("clock", format!("this machine's clock says {shown}, which is before this program was made"))
            .note("every message would be stored under a wrong time: set the clock, and switch NTP on (timedatectl set-ntp true)");
    }
    Finding::ok("clock", format!("this machine's clock says {shown}"))
}

/// Milliseconds of an HTTP `Date`; none where it is no time.
pub fn http_date(text: &str) -> Option<i64> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok().map(|moment| moment.as_millisecond())
}

/// How far our clock is from that of `whose`, which showed `theirs_ms` between our `before_ms` and `after_ms`.
pub fn compared(whose: &str, theirs_ms: i64, before_ms: i64, after_ms: i64) -> Finding {
    // Theirs is cut to the second, so half a second more is the best guess.
    let ahead_ms = before_ms + (after_ms - before_ms) / 2 - (theirs_ms + 500);
    if ahead_ms.abs() <= OFFSET_MAX_MS {
        return Finding::ok("clocks", format!("this machine's and that of {whose} agree to a few seconds"));
    }
    let direction = if ahead_ms > 0 { "ahead of" } else { "behind" };
    let apart = span(ahead_ms.unsigned_abs() as f64 / 1e3);
    Finding::warn("clocks", format!("this machine's clock is {apart} {direction} that of {whose}")).note(
        "messages carry the time of the machine that captures them: switch NTP on in both (timedatectl set-ntp true)",
    )
}

/// RFC 3339 to the second; the clock may show what has no such form.
fn shown(ms: i64) -> String {
    match jiff::Timestamp::from_second(ms.div_euclid(1_000)) {
        Ok(moment) => moment.to_string(),
        Err(_) => "a time beyond all calendars".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn a_clock_before_this_program_is_wrong() {
        assert_eq!(sane(0).level, Level::Warn);
        assert!(sane(0).what.contains("1970-01-01T00:00:00Z"));
        assert_eq!(sane(EARLIEST_MS - 1).level, Level::Warn);
        assert_eq!(sane(EARLIEST_MS), Finding::ok("clock", "this machine's clock says 2026-11-01T00:00:00Z"));
        assert_eq!(sane(i64::MAX).level, Level::Ok);
    }

    #[test]
    fn a_date_of_http_is_read() {
        assert_eq!(http_date("Sun, 01 Nov 2026 00:00:00 GMT"), Some(EARLIEST_MS));
        assert_eq!(http_date("soon"), None);
    }

    #[test]
    fn clocks_that_differ_by_more_than_rounding_are_named() {
        for (theirs, before, after, level, words) in [
            (10_000, 10_100, 10_200, Level::Ok, "agree"),
            (10_000, 10_000, 19_000, Level::Ok, "agree"),
            (10_000, 5_600, 5_600, Level::Ok, "agree"),
            (10_000, 30_500, 30_500, Level::Warn, "20 s ahead of that of the API"),
            (10_000_000, 6_400_500, 6_400_500, Level::Warn, "60 min behind that of the API"),
        ] {
            let finding = compared("the API", theirs, before, after);
            assert_eq!(finding.level, level);
            assert!(finding.what.contains(words), "{}", finding.what);
        }
    }
}
