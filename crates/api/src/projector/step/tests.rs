//! Steps are short and have much of each field, whatever the messages look like.

use std::fmt::Write as _;

use super::*;
use crate::projector::known::LIMITS;
use crate::store::projection::Step;

const ROWS_MAX: usize = 768;

/// Messages of topics in turn, each with so many fields, whose names begin with a letter.
fn messages(count: i64, topics: i64, fields: usize) -> Vec<Message> {
    let message = |id: i64| {
        let mut valor = String::from("{");
        for field in 0..fields {
            let _ = write!(valor, r#"{}"c{field:02}":{id}"#, if field == 0 { "" } else { "," });
        }
        valor.push('}');
        let timestamp = Timestamp::from_ms(1_795_402_800_000 + id).ok();
        Message { id, topico: format!("t/{:04}", id % topics), valor, timestamp, formato: None }
    };
    (1..=count).map(message).collect()
}

/// All steps of the messages, and how far they lead.
fn steps(messages: &[Message]) -> (Vec<Step>, Position) {
    let now = Timestamp::from_ms(1_795_402_800_000).unwrap();
    let (mut all, mut at, mut known) = (Vec::new(), Position::default(), Known::new(LIMITS));
    loop {
        let rest = &messages[at.last_id as usize..];
        let (steps, _) = derive(&at, rest, &Rules::default(), Carried::default(), ROWS_MAX, now, &mut known);
        if steps.to() == &at {
            return (all, at);
        }
        assert!(steps.readings() <= READINGS_MAX + 64, "{} readings at once", steps.readings());
        at = steps.to().clone();
        all.extend(steps);
    }
}

#[test]
fn whatever_the_messages_look_like_steps_are_short_and_have_much_of_each_field() {
    // Of many fields: a step of whole messages would have a few readings of each, and write a page or more for every one.
    for (count, topics, fields) in [(20_000, 1, 64), (20_000, 50, 16), (20_000, 1, 2), (30_000, 1_000, 2)] {
        let messages = messages(count, topics, fields);
        let (steps, at) = steps(&messages);
        assert_eq!(at, Position::whole(count));
        let rows: usize = steps.iter().map(Step::rows).sum();
        let readings: usize = steps.iter().map(|step| step.readings.len()).sum();
        assert_eq!(readings, count as usize * fields);
        assert!(steps.iter().all(|step| step.rows() <= 2 * ROWS_MAX), "{topics} topics, {fields} fields");
        assert!(rows < readings * 5 / 4, "{topics} topics, {fields} fields: {rows} rows for {readings} readings");
    }
}

#[test]
fn ever_new_names_make_no_more_fields_than_a_topic_may_get_in_a_minute() {
    let message = |id: i64| {
        let fields: Vec<String> = (0..64).map(|field| format!(r#""m{id}_{field}":1"#)).collect();
        let timestamp = Timestamp::from_ms(1_795_402_800_000 + id).ok();
        Message { id, topico: "t".to_owned(), valor: format!("{{{}}}", fields.join(",")), timestamp, formato: None }
    };
    // Within one minute.
    let messages: Vec<Message> = (1..=3_000).map(message).collect();
    let (steps, at) = steps(&messages);
    assert_eq!(at, Position::whole(3_000));
    let readings: usize = steps.iter().map(|step| step.readings.len()).sum();
    assert_eq!(readings, LIMITS.new_in_minute);
    let counted: i64 = steps.iter().flat_map(|step| &step.topics).map(|news| news.mensagens).sum();
    assert_eq!(counted, 3_000, "the messages are counted all the same");
}
