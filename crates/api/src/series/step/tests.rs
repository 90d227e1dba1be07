//! Every step at its edges, and points against the plainest way to make them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const SECOND_MS: i64 = 1_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn ms(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms).unwrap()
}

#[test]
fn each_step_has_one_name_and_is_a_multiple_of_the_one_before() {
    for step in Step::ALL {
        assert_eq!(Step::from_name(step.as_str()), Some(step));
        assert_eq!(DAY_MS % step.ms(), 0);
    }
    assert!(Step::ALL.windows(2).all(|pair| pair[0].ms() < pair[1].ms() && pair[1].ms() % pair[0].ms() == 0));
    for name in ["", "1", "m", "1M", "2m", "60m", "24h", "1d ", "01m"] {
        assert_eq!(Step::from_name(name), None, "{name}");
    }
    assert_eq!(Step::ALL.map(|step| step.rollup() == Rollup::Hour), [false, false, false, true, true, true]);
}

#[test]
fn a_range_is_rounded_outward_to_the_step() {
    let (from, until) = (at("2026-11-23T03:21:45.678Z"), at("2026-11-24T17:59:59.999Z"));
    for (step, first, last, points) in [
        (Step::Minute, "2026-11-23T03:21:00Z", "2026-11-24T18:00:00Z", 38 * 60 + 39),
        (Step::FiveMinutes, "2026-11-23T03:20:00Z", "2026-11-24T18:00:00Z", 38 * 12 + 8),
        (Step::QuarterHour, "2026-11-23T03:15:00Z", "2026-11-24T18:00:00Z", 38 * 4 + 3),
        (Step::Hour, "2026-11-23T03:00:00Z", "2026-11-24T18:00:00Z", 39),
        (Step::SixHours, "2026-11-23T00:00:00Z", "2026-11-24T18:00:00Z", 7),
        (Step::Day, "2026-11-23T00:00:00Z", "2026-11-25T00:00:00Z", 2),
    ] {
        assert_eq!(step.around(from, until), Some((at(first), at(last))), "{step:?}");
        assert_eq!(step.points(from, until), points, "{step:?}");
    }
    // What is on an edge stays, before 1970 too.
    for step in Step::ALL {
        for edge in [at("1969-12-31T00:00:00Z"), at("2024-02-29T00:00:00Z")] {
            let (before, after) = (ms(edge.as_ms() - 1), ms(edge.as_ms() + 1));
            let (previous, next) = (ms(edge.as_ms() - step.ms()), ms(edge.as_ms() + step.ms()));
            assert_eq!(step.around(edge, next), Some((edge, next)));
            assert_eq!(step.around(before, edge), Some((previous, edge)));
            assert_eq!(step.around(before, after), Some((previous, next)));
            assert_eq!((step.points(edge, next), step.points(before, edge), step.points(before, after)), (1, 1, 2));
        }
    }
    let last = at("9999-12-30T21:59:59Z");
    assert!(Step::Minute.around(from, last).is_some());
    assert_eq!(Step::Day.around(from, last), None);
    assert_eq!(Step::Day.around(at("0000-01-01T00:00:00Z"), from).unwrap().0, at("0000-01-01T00:00:00Z"));
}

#[test]
fn a_chart_gets_the_shortest_step_that_gives_it_enough() {
    let from = at("2026-11-01T00:00:00Z");
    for (length_ms, step, points) in [
        (1, Step::Minute, 1),
        (HOUR_MS, Step::Minute, 60),
        (1_000 * MINUTE_MS, Step::Minute, 1_000),
        (1_000 * MINUTE_MS + 1, Step::FiveMinutes, 201),
        (DAY_MS, Step::FiveMinutes, 288),
        (5_000 * MINUTE_MS, Step::FiveMinutes, 1_000),
        (5_001 * MINUTE_MS, Step::QuarterHour, 334),
        (7 * DAY_MS, Step::QuarterHour, 672),
        (250 * HOUR_MS, Step::QuarterHour, 1_000),
        (250 * HOUR_MS + 1, Step::Hour, 251),
        (30 * DAY_MS, Step::Hour, 720),
        (1_000 * HOUR_MS, Step::Hour, 1_000),
        (1_001 * HOUR_MS, Step::SixHours, 167),
        (250 * DAY_MS, Step::SixHours, 1_000),
        (250 * DAY_MS + SECOND_MS, Step::Day, 251),
        (10_000 * DAY_MS, Step::Day, 10_000),
        (20_000 * DAY_MS, Step::Day, 20_000),
    ] {
        let until = ms(from.as_ms() + length_ms);
        let chosen = Step::for_chart(from, until);
        assert_eq!((chosen, chosen.points(from, until)), (step, points), "{length_ms}");
    }
}

#[test]
fn the_shortest_step_that_fits_is_found() {
    let from = at("2000-01-01T00:00:00Z");
    for (days, fits) in [
        (6, Some(Step::Minute)),
        (7, Some(Step::FiveMinutes)),
        (34, Some(Step::FiveMinutes)),
        (35, Some(Step::QuarterHour)),
        (105, Some(Step::Hour)),
        (417, Some(Step::SixHours)),
        (2_501, Some(Step::Day)),
        (10_000, Some(Step::Day)),
        (10_001, None),
    ] {
        assert_eq!(Step::shortest(from, ms(from.as_ms() + days * DAY_MS), POINTS_MAX), fits, "{days}");
    }
}

fn numbers(at: Timestamp, values: &[f64]) -> Numbers {
    let fold = |start, with: fn(f64, f64) -> f64| values.iter().copied().fold(start, with);
    let (least, most) = (fold(f64::INFINITY, f64::min), fold(f64::NEG_INFINITY, f64::max));
    Numbers { at, count: values.len() as u64, sum: values.iter().sum(), least, most }
}

fn folded(step: Step, all: impl IntoIterator<Item = Numbers>) -> Vec<Ponto> {
    let mut fold = Fold::new(step);
    all.into_iter().for_each(|numbers| fold.take(numbers));
    fold.done()
}

#[test]
fn nothing_is_no_point() {
    assert_eq!(folded(Step::Hour, []), []);
    // Only another program can have written that.
    let none = Numbers { at: ms(0), count: 0, sum: 0.0, least: 0.0, most: 0.0 };
    assert_eq!(folded(Step::Hour, [none]), []);
}

#[test]
fn a_mean_lies_between_its_numbers_or_is_not_told() {
    let point = |values: &[f64]| folded(Step::Minute, [numbers(ms(0), values)])[0];
    assert_eq!(point(&[0.1; 3]).media, Some(0.1));
    assert_eq!(point(&[-0.1; 3]).media, Some(-0.1));
    assert_eq!(point(&[f64::MAX, f64::MAX]).media, None);
    assert_eq!(point(&[1.0, 2.0]).media, Some(1.5));
}

proptest! {
    #[test]
    fn points_are_what_their_minutes_are_made_of(
        step in prop::sample::select(Step::ALL.to_vec()),
        // Quarters: their sums are exact.
        minutes in prop::collection::btree_map(-3_000..3_000i64, prop::collection::vec(-400..400i32, 1..4), 0..60),
    ) {
        let minute = |number: i64| ms(number * MINUTE_MS);
        let value = |quarters: &i32| f64::from(*quarters) / 4.0;
        let mut expected: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        for (number, quarters) in &minutes {
            let start = (-5_000..5_000i64).map(|n| n * step.ms()).filter(|start| *start <= number * MINUTE_MS).max();
            expected.entry(start.unwrap()).or_default().extend(quarters.iter().map(value));
        }
        let expected: Vec<Ponto> = expected.into_iter().map(|(start, values)| Ponto {
            inicio: ms(start),
            n: values.len() as u64,
            media: Some(values.iter().sum::<f64>() / values.len() as f64),
            minimo: values.iter().copied().fold(f64::INFINITY, f64::min),
            maximo: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }).collect();
        let rows = minutes.iter().map(|(number, quarters)| {
            numbers(minute(*number), &quarters.iter().map(value).collect::<Vec<_>>())
        });
        prop_assert_eq!(folded(step, rows), expected);
    }

    #[test]
    fn the_rounded_range_has_as_many_points_as_it_is_long(
        step in prop::sample::select(Step::ALL.to_vec()),
        from_ms in -10_000_000_000_000..10_000_000_000_000i64,
        length_ms in 1..10_000_000_000i64,
    ) {
        let (from, until) = (ms(from_ms), ms(from_ms + length_ms));
        let (first, last) = step.around(from, until).unwrap();
        prop_assert!(first <= from && until <= last);
        prop_assert!(from.as_ms() - first.as_ms() < step.ms() && last.as_ms() - until.as_ms() < step.ms());
        prop_assert_eq!((first.as_ms() % step.ms(), last.as_ms() % step.ms()), (0, 0));
        prop_assert_eq!(step.points(from, until), ((last.as_ms() - first.as_ms()) / step.ms()).unsigned_abs());
    }
}
