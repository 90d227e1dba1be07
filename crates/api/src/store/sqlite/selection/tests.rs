//! Reading is a filter over all rows, whatever the indexes have taken up and whoever has edited the rows.

use std::collections::BTreeMap;

use dados::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::store::sqlite::Writer;
use crate::store::{Batch, Filter, Origin, Outcome, Reader, Row, connect};

const TOPICS: [&str; 7] = ["a", "A", "a/b", "a/c", "b/c", "a/b/c", "$s/c"];
const FILTERS: [&str; 7] = ["a/#", "+/c", "#", "a/+", "+/+/c", "$s/#", "nada/+"];
/// What programs write, from the least on where they are times: ours, the seed's, others'.
const TIMES: [Option<&str>; 12] = [
    Some("2026-11-22 23:59:59.999"),
    Some("2026-11-23T00:00:00-00:00"),
    Some("2026-11-23 00:00:00"),
    Some("2026-11-23 03:21:45"),
    Some("2026-11-23 03:21:45.5"),
    Some("2026-11-23 03:21:45.500"),
    Some("2026-11-23T03:21:45.5Z"),
    Some("2026-11-23 03:21:45.678"),
    Some("2026-11-23T00:21:45.678-03:00"),
    Some("ontem"),
    Some("1700000000"),
    None,
];
/// Where ranges begin and end.
const BOUNDS: [&str; 6] = [
    "2026-11-23T00:00:00Z",
    "2026-11-23T03:21:45Z",
    "2026-11-23T03:21:45.500Z",
    "2026-11-23T03:21:45.678Z",
    "2026-11-23T03:21:45.679Z",
    "2026-11-24T00:00:00Z",
];

/// What is known of a row, by places in [`TOPICS`] and [`TIMES`]; a number beyond the topics stands for none.
type Known = (usize, usize);
/// The rows, as a program would keep them that has no index.
type Model = BTreeMap<i64, Known>;

#[derive(Clone, Debug)]
enum Edit {
    /// Rows come in.
    Store(Vec<Known>),
    /// A row comes in with an id far beyond the others.
    Jump(Known),
    Step(u64),
    /// By the row's place in the table, counted from the newest.
    Delete(usize),
    DeleteNewest(usize),
    Change(usize, Known),
    Move(usize, i64),
    /// With no trigger, and then as the README says.
    Replace(usize, Known),
    Reopen,
}

#[derive(Clone, Debug)]
struct Question {
    topics: Wanted,
    from: Option<usize>,
    until: Option<usize>,
    order: Order,
    limit: u32,
    /// Whether rows that come meanwhile are left out, as files do.
    is_closed: bool,
}

fn known() -> impl Strategy<Value = Known> {
    (0..=TOPICS.len(), 0..TIMES.len())
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        5 => prop::collection::vec(known(), 1..12).prop_map(Edit::Store),
        2 => known().prop_map(Edit::Jump),
        4 => (1..12u64).prop_map(Edit::Step),
        1 => (0..30usize).prop_map(Edit::Delete),
        1 => (1..9usize).prop_map(Edit::DeleteNewest),
        2 => (0..30usize, known()).prop_map(|(row, known)| Edit::Change(row, known)),
        1 => (0..30usize, 1..2_000i64).prop_map(|(row, id)| Edit::Move(row, id)),
        2 => (0..30usize, known()).prop_map(|(row, known)| Edit::Replace(row, known)),
        1 => Just(Edit::Reopen),
    ]
}

fn question() -> impl Strategy<Value = Question> {
    let topics = prop_oneof![
        Just(Wanted::All),
        prop::sample::select(&TOPICS[..]).prop_map(|topic| Wanted::Exactly(topic.to_owned())),
        prop::sample::select(&FILTERS[..]).prop_map(|filter| Wanted::Matching(filter.to_owned())),
    ];
    let bound = || prop::option::of(0..BOUNDS.len());
    let order = prop_oneof![Just(Order::Ascending), Just(Order::Descending)];
    (topics, bound(), bound(), order, 1..9u32, any::<bool>()).prop_map(
        |(topics, from, until, order, limit, is_closed)| Question { topics, from, until, order, limit, is_closed },
    )
}

fn url(dir: &TempDir) -> String {
    format!("sqlite:{}/dados.db", dir.path().display())
}

fn row((topic, time): Known) -> Row {
    Row {
        valor: "1".into(),
        // The API itself stores no other than its own form: see `Change`.
        timestamp: TIMES[time].unwrap_or("2026-11-23 03:21:45.678").into(),
        topico: TOPICS.get(topic).copied().map(Into::into),
        qos: None,
        retido: None,
        dup: None,
        formato: None,
        hora_corrigida: None,
    }
}

async fn execute(writer: &mut Writer, sql: &'static str, ids: [i64; 2], (topic, time): Known) {
    let query = sqlx::query(sql).bind(ids[0]).bind(ids[1]).bind(TOPICS.get(topic).copied()).bind(TIMES[time]);
    query.execute(writer.connection().await.unwrap()).await.unwrap();
}

async fn store(writer: &mut Writer, model: &mut Model, rows: &[Known]) {
    let batch = Batch { rows: rows.iter().copied().map(row).collect(), origin: Origin::Unmarked };
    let outcomes = writer.write(&[&batch], Timestamp::now()).await.unwrap();
    let Outcome::Stored { first_id, .. } = outcomes[0] else { panic!("{outcomes:?}") };
    for (id, known) in (first_id..).zip(rows.iter().copied()) {
        let time = if TIMES[known.1].is_some() { known.1 } else { 7 };
        model.insert(id, (known.0, time));
    }
}

async fn apply(edit: Edit, writer: &mut Writer, model: &mut Model) {
    let place = |place: usize| model.keys().rev().nth(place).copied();
    let newest = model.keys().next_back().copied().unwrap_or_default();
    match edit {
        Edit::Store(rows) => store(writer, model, &rows).await,
        Edit::Jump(known) => {
            let id = newest + 900;
            let sql = "insert into dados (id, topico, timestamp) select ?1, ?3, ?4 where ?2 is not null";
            execute(writer, sql, [id, 0], known).await;
            model.insert(id, known);
        }
        Edit::Step(rows) => {
            let before = writer.indexed().await.unwrap();
            let after = writer.index(rows).await.unwrap();
            let beyond = |cursor: i64| model.keys().filter(|id| **id > cursor).count();
            let taken = beyond(before.last_id).min(usize::try_from(rows).unwrap());
            assert_eq!(beyond(before.last_id) - beyond(after.last_id), taken);
        }
        Edit::Delete(at) => {
            let Some(id) = place(at) else { return };
            execute(writer, "delete from dados where id = ?1 and ?2 + ?3 + ?4 is null", [id, 0], (9, 11)).await;
            model.remove(&id);
        }
        Edit::DeleteNewest(rows) => {
            let Some(id) = place(rows - 1).or(model.keys().next().copied()) else { return };
            // Their ids come again.
            execute(writer, "delete from dados where id >= ?1 and ?2 + ?3 + ?4 is null", [id, 0], (9, 11)).await;
            execute(writer, "delete from sqlite_sequence where ?1 + ?2 + ?3 + ?4 is null", [id, 0], (9, 11)).await;
            model.split_off(&id);
        }
        Edit::Change(at, known) => {
            let Some(id) = place(at) else { return };
            let sql = "update dados set topico = ?3, timestamp = ?4 where id = ?1 and ?2 = 0";
            execute(writer, sql, [id, 0], known).await;
            model.insert(id, known);
        }
        Edit::Move(at, to) => {
            let Some(id) = place(at) else { return };
            if model.contains_key(&to) || id == newest {
                return;
            }
            execute(writer, "update dados set id = ?2 where id = ?1 and ?3 + ?4 is null", [id, to], (9, 11)).await;
            let known = model.remove(&id).unwrap();
            model.insert(to, known);
        }
        Edit::Replace(at, known) => {
            let Some(id) = place(at) else { return };
            let sql = "replace into dados (id, topico, timestamp) select ?1, ?3, ?4 where ?2 = 0";
            execute(writer, sql, [id, 0], known).await;
            let sql = "update dados set topico = topico where id = ?1 and ?2 + ?3 + ?4 is null";
            execute(writer, sql, [id, 0], (9, 11)).await;
            model.insert(id, known);
        }
        Edit::Reopen => unreachable!("the test does it"),
    }
}

/// The ids that a question is answered with, in its order.
fn expected(question: &Question, model: &Model) -> Vec<i64> {
    let bound = |at: Option<usize>| at.map(|at| BOUNDS[at].parse::<Timestamp>().unwrap());
    let (from, until) = (bound(question.from), bound(question.until));
    let is_selected = |(topic, time): Known| {
        let topic = TOPICS.get(topic);
        let moment = TIMES[time].and_then(|text| text.parse::<Timestamp>().ok());
        (match &question.topics {
            Wanted::All => true,
            Wanted::Exactly(wanted) => topic == Some(&wanted.as_str()),
            Wanted::Matching(filter) => topic.is_some_and(|topic| topic::matches(filter, topic)),
        }) && (from.is_none() && until.is_none()
            || moment.is_some_and(|moment| {
                from.is_none_or(|from| moment >= from) && until.is_none_or(|until| moment < until)
            }))
    };
    let mut ids: Vec<i64> = model.iter().filter(|(_, known)| is_selected(**known)).map(|(id, _)| *id).collect();
    if question.order == Order::Descending {
        ids.reverse();
    }
    ids
}

fn selection(question: &Question, model: &Model) -> Selection {
    let bound = |at: Option<usize>| at.map(|at| BOUNDS[at].parse::<Timestamp>().unwrap());
    let filter = Filter { topics: question.topics.clone(), from: bound(question.from), until: bound(question.until) };
    let newest_id = question.is_closed.then(|| model.keys().next_back().copied().unwrap_or_default());
    let (order, limit) = (question.order, question.limit);
    Selection { filter, order, after_id: None, newest_id, limit, bytes_max: usize::MAX }
}

/// Goes from page to page, while rows come in, and compares what was there with what there should be.
async fn ask(question: &Question, writer: &mut Writer, reader: &Reader, model: &mut Model, news: &[Known]) {
    let before = expected(question, model);
    let (mut selection, mut ids, mut news) = (selection(question, model), Vec::new(), news.iter());
    loop {
        let page = reader.list(&selection).await.unwrap();
        assert!(page.rows.len() <= question.limit as usize);
        ids.extend(page.rows.iter().map(|row| row.id));
        assert!(page.next_after_id.is_none_or(|next| selection.after_id != Some(next)), "{question:?} stands still");
        if page.next_after_id.is_none() {
            break;
        }
        selection.after_id = page.next_after_id;
        if let Some(known) = news.next() {
            store(writer, model, &[*known]).await;
        }
    }
    let is_open = question.order == Order::Ascending && !question.is_closed;
    let expected = if is_open { expected(question, model) } else { before };
    assert_eq!(ids, expected, "{question:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reading_is_a_filter_over_all_rows(
        edits in prop::collection::vec((edit(), prop::collection::vec(question(), 12)), 1..20),
        news in prop::collection::vec(known(), 0..3),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let (mut writer, mut reader) = connect(&url(&dir), 1).await.unwrap();
            let mut model = Model::new();
            for (edit, questions) in edits {
                if let Edit::Reopen = edit {
                    reader.close().await;
                    writer.close().await.unwrap();
                    (writer, reader) = connect(&url(&dir), 1).await.unwrap();
                } else {
                    apply(edit, &mut writer, &mut model).await;
                }
                for question in questions {
                    ask(&question, &mut writer, &reader, &mut model, &news).await;
                }
            }
        });
    }
}
