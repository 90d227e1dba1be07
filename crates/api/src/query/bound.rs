//! Where a range of time begins and ends, as people say it.

use dados::Timestamp;

/// What a bound must look like; its text is meant for the client.
pub(crate) const EXPECTED: &str = "expected a time such as 2026-11-23T03:21:45Z (RFC 3339) or 2026-11-23 03:21:45 (UTC), \
     a day such as 2026-11-23, or a time before now such as -24h, -7d or -30m";

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Reads `desde`, from which on. A day means its beginning.
pub(crate) fn from(text: &str, now: Timestamp) -> Option<Timestamp> {
    day(text).or_else(|| moment(text, now))
}

/// Reads `ate`, before which. A day means its end, so that `desde=2026-11-01&ate=2026-11-30` is the whole month.
pub(crate) fn until(text: &str, now: Timestamp) -> Option<Timestamp> {
    match day(text) {
        Some(beginning) => plus(beginning, DAY_MS),
        None => moment(text, now),
    }
}

fn plus(moment: Timestamp, ms: i64) -> Option<Timestamp> {
    Timestamp::from_ms(moment.as_ms().checked_add(ms)?).ok()
}

fn day(text: &str) -> Option<Timestamp> {
    const FORM: usize = "2026-11-23".len();
    if text.len() == FORM { format!("{text} 00:00:00").parse().ok() } else { None }
}

fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    match text.strip_prefix('-') {
        Some(ago) => plus(now, duration_ms(ago)?.checked_neg()?),
        None => text.parse().ok(),
    }
}

/// Minutes, hours or days.
fn duration_ms(text: &str) -> Option<i64> {
    let unit_ms = match text.as_bytes().last()? {
        b'm' => MINUTE_MS,
        b'h' => HOUR_MS,
        b'd' => DAY_MS,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    // A number may have a sign in Rust.
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i64>().ok())??;
    number.checked_mul(unit_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T03:21:45.678Z".parse().unwrap()
    }

    #[test]
    fn a_bound_is_a_moment_a_day_or_a_time_before_now() {
        for (text, moment) in [
            ("2026-11-23T03:21:45.678Z", "2026-11-23 03:21:45.678"),
            ("2026-11-23T03:21:45-03:00", "2026-11-23 06:21:45.000"),
            ("2026-11-23 03:21:45", "2026-11-23 03:21:45.000"),
            ("2026-11-23 03:21:45.6", "2026-11-23 03:21:45.600"),
            ("-0m", "2026-11-23 03:21:45.678"),
            ("-90m", "2026-11-23 01:51:45.678"),
            ("-24h", "2026-11-22 03:21:45.678"),
            ("-7d", "2026-11-16 03:21:45.678"),
        ] {
            assert_eq!(from(text, now()).map(Timestamp::to_sql).as_deref(), Some(moment), "{text}");
            assert_eq!(until(text, now()), from(text, now()), "{text}");
        }
    }

    #[test]
    fn a_day_begins_and_ends() {
        for (text, beginning, end) in [
            ("2026-11-23", "2026-11-23 00:00:00.000", "2026-11-24 00:00:00.000"),
            ("2024-02-29", "2024-02-29 00:00:00.000", "2024-03-01 00:00:00.000"),
            ("2026-12-31", "2026-12-31 00:00:00.000", "2027-01-01 00:00:00.000"),
        ] {
            assert_eq!(from(text, now()).unwrap().to_sql(), beginning);
            assert_eq!(until(text, now()).unwrap().to_sql(), end);
        }
    }

    #[test]
    fn what_is_no_bound_is_refused() {
        for text in [
            "",
            "-",
            "-h",
            "-1",
            "-1s",
            "-1w",
            "--1h",
            "-+1h",
            "-1.5h",
            "24h",
            "-99999999999999999999d",
            "-9223372036854775807d",
            "-1000000d",
            "ontem",
            "now",
            "2026-11",
            "2026-02-30",
            "20261123T0",
            "23/11/2026",
            "2026-11-2é",
            "1795404105",
            "2026-11-23T03:21:45",
        ] {
            assert_eq!((from(text, now()), until(text, now())), (None, None), "{text}");
        }
        // The last day has an end that no time can name.
        assert_eq!(until("9999-12-31", now()), None);
    }
}
