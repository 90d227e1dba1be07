//! Numbers as a person reads them, with their units.

const MINUTE_S: f64 = 60.0;
const HOUR_S: f64 = 3_600.0;
const DAY_S: f64 = 86_400.0;
const YEAR_S: f64 = 365.0 * DAY_S;

/// A length of time in its largest fitting unit: `80 s`, `5 min`, `9 days`.
pub fn span(seconds: f64) -> String {
    let whole = |amount: f64, unit: &str| format!("{} {unit}", amount.round());
    match seconds {
        s if s < 1e-3 => format!("{:.2} ms", s * 1e3),
        s if s < 10e-3 => format!("{:.1} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 2.0 * MINUTE_S => whole(s, "s"),
        s if s < 2.0 * HOUR_S => whole(s / MINUTE_S, "min"),
        s if s < 2.0 * DAY_S => whole(s / HOUR_S, "h"),
        s if s < 2.0 * YEAR_S => whole(s / DAY_S, "days"),
        s if s < 100.0 * YEAR_S => whole(s / YEAR_S, "years"),
        _ => "more than 100 years".to_owned(),
    }
}

/// Bytes in the units that the settings take: `512 bytes`, `1.5 MiB`, `32 GiB`.
pub fn size(bytes: f64) -> String {
    let mut amount = bytes;
    for unit in ["bytes", "KiB", "MiB", "GiB"] {
        if amount < 1024.0 {
            return amount_of(amount, unit);
        }
        amount /= 1024.0;
    }
    amount_of(amount, "TiB")
}

fn amount_of(amount: f64, unit: &str) -> String {
    if amount < 10.0 && unit != "bytes" && amount.fract() >= 0.05 {
        format!("{amount:.1} {unit}")
    } else {
        format!("{amount:.0} {unit}")
    }
}

/// How often something comes: by the second, or by the minute, hour or day where that would be less than one.
pub fn rate(per_second: f64) -> String {
    for (times, unit) in [(1.0, "s"), (MINUTE_S, "min"), (HOUR_S, "h")] {
        let amount = per_second * times;
        if amount >= 10.0 {
            return format!("{} msg/{unit}", grouped(amount));
        }
        if amount >= 0.95 {
            return format!("{:.1} msg/{unit}", amount).replace(".0 ", " ");
        }
    }
    format!("{:.1} msg/day", per_second * DAY_S).replace(".0 ", " ")
}

/// A whole number with its thousands apart: `12,345`.
pub fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units_that_fit() {
        for (seconds, text) in [
            (0.0004, "0.40 ms"),
            (0.0042, "4.2 ms"),
            (0.042, "42 ms"),
            (1.4, "1 s"),
            (83.0, "83 s"),
            (150.0, "3 min"),
            (7_200.0, "2 h"),
            (9.1 * DAY_S, "9 days"),
            (3.0 * YEAR_S, "3 years"),
            (f64::INFINITY, "more than 100 years"),
        ] {
            assert_eq!(span(seconds), text);
        }
        for (bytes, text) in [
            (0.0, "0 bytes"),
            (90.0, "90 bytes"),
            (1536.0, "1.5 KiB"),
            ((32u64 << 20) as f64, "32 MiB"),
            ((1u64 << 30) as f64, "1 GiB"),
            ((3u64 << 43) as f64, "24 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        for (per_second, text) in [
            (12_345.6, "12,346 msg/s"),
            (12.0, "12 msg/s"),
            (1.5, "1.5 msg/s"),
            (1.0, "1 msg/s"),
            (0.1, "6 msg/min"),
            (0.005, "18 msg/h"),
            (0.0001, "8.6 msg/day"),
        ] {
            assert_eq!(rate(per_second), text);
        }
        for (number, text) in [(0.0, "0"), (999.0, "999"), (1_000.0, "1,000"), (1_234_567.0, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
