//! The projections are what a naive computation over all rows gives, whatever happens in between.

use std::collections::BTreeMap;

use dados::Timestamp;
use proptest::prelude::*;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqliteConnection};
use tempfile::TempDir;

use super::device_time::Rules;
use super::known::{Known, Limits};
use super::step::derive;
use crate::store::projection::{Carried, Generation, Next, Position, Projected, Step};
use crate::store::{Batch, CarriedTo, Origin, Reader, Row, Writer, connect};

const TOPICS: [&str; 3] = ["casa/sala", "casa/quarto", "b"];
/// 2026-11-23T03:00:00Z: the first of the hours that rows are from.
const BASE_MS: i64 = 1_795_402_800_000;
/// The minute that our clock shows: of the rows' minutes, some are in the past and some are ahead of it.
const NOW_MINUTE: i64 = 100;

/// So few that messages have more.
const LIMITS: Limits = Limits { new_in_minute: 1, fields: 2 };

/// A message as the test makes it.
#[derive(Clone, Debug)]
struct Sent {
    topic: Option<usize>,
    payload: Payload,
    /// Minutes after [`BASE_MS`], in no order.
    minute: i64,
}

#[derive(Clone, Debug)]
enum Payload {
    Number(i32),
    Text,
    Object(i32, bool),
    /// With the device's own minute.
    Timed(i32, i64),
}

#[derive(Clone, Debug)]
enum Event {
    Store(Vec<Sent>),
    Advance(Pace),
    /// A step that begins where the cursor is not.
    StepFromElsewhere,
    /// The process dies and starts.
    Die,
    BeginAnew,
    AdvanceAnew(Pace),
    Swap,
    Sweep,
}

/// How far at once: messages that are read, rows of a step, and after how many steps something comes in between.
#[derive(Clone, Copy, Debug)]
struct Pace {
    rows: usize,
    rows_of_step: usize,
    steps: usize,
}

const ALL: Pace = Pace { rows: 1024, rows_of_step: 1024, steps: 1024 };

fn pace() -> impl Strategy<Value = Pace> {
    (1..25usize, 1..16usize, 1..4usize).prop_map(|(rows, rows_of_step, steps)| Pace { rows, rows_of_step, steps })
}

fn sent() -> impl Strategy<Value = Sent> {
    let payload = prop_oneof![
        (-50..50i32).prop_map(Payload::Number),
        Just(Payload::Text),
        (-50..50i32, any::<bool>()).prop_map(|(number, flag)| Payload::Object(number, flag)),
        (-50..50i32, 0..200i64).prop_map(|(number, minute)| Payload::Timed(number, minute)),
    ];
    (prop::option::of(0..TOPICS.len()), payload, 0..200i64).prop_map(|(topic, payload, minute)| Sent {
        topic,
        payload,
        minute,
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => prop::collection::vec(sent(), 1..20).prop_map(Event::Store),
        5 => pace().prop_map(Event::Advance),
        1 => Just(Event::StepFromElsewhere),
        1 => Just(Event::Die),
        1 => Just(Event::BeginAnew),
        4 => pace().prop_map(Event::AdvanceAnew),
        2 => Just(Event::Swap),
        1 => Just(Event::Sweep),
    ]
}

fn time(minute: i64) -> Timestamp {
    Timestamp::from_ms(BASE_MS + minute * 60_000 + minute % 7).unwrap()
}

impl Sent {
    fn row(&self) -> Row {
        let valor = match self.payload {
            Payload::Number(number) => number.to_string(),
            Payload::Text => "ligado".to_owned(),
            Payload::Object(number, flag) => format!(r#"{{"t": {number}, "porta": {{"aberta": {flag}}}}}"#),
            Payload::Timed(number, minute) => format!(r#"{{"ts":"{}","t":{number}}}"#, time(minute)),
        };
        Row {
            valor: valor.into(),
            timestamp: time(self.minute).to_sql().into(),
            topico: self.topic.map(|topic| TOPICS[topic].into()),
            qos: None,
            retido: None,
            dup: None,
            formato: None,
            hora_corrigida: None,
        }
    }

    /// Its readings, and their minute.
    fn readings(&self) -> (Vec<(&'static str, Value)>, i64) {
        match self.payload {
            Payload::Number(number) => (vec![("valor", (Some(number.into()), None))], self.minute),
            Payload::Text => (vec![("valor", (None, Some("ligado")))], self.minute),
            Payload::Object(number, flag) => {
                let aberta = (Some(f64::from(flag)), None);
                (vec![("t", (Some(number.into()), None)), ("porta.aberta", aberta)], self.minute)
            }
            Payload::Timed(number, minute) => (vec![("t", (Some(number.into()), None))], minute),
        }
    }
}

/// Number and text.
type Value = (Option<f64>, Option<&'static str>);
/// Every table as text, row by row.
type Tables = BTreeMap<&'static str, Vec<String>>;

/// What the tables must have at a position: a row a line, columns as SQLite prints them.
fn expected(rows: &[Sent], at: &Position) -> Tables {
    let mut tables = Tables::from_iter(SELECTS.map(|(table, _)| (table, Vec::new())));
    let mut topics: BTreeMap<&str, Vec<(String, i64, &Sent)>> = BTreeMap::new();
    let mut fields = BTreeMap::<_, Vec<(String, i64, Value)>>::new();
    let mut roll_ups: BTreeMap<(&str, &str, &str, String), Vec<f64>> = BTreeMap::new();
    let mut known: BTreeMap<&str, Vec<(&str, i64, i64)>> = BTreeMap::new();
    for (id, row) in (1..).zip(rows) {
        let topico = row.topic.map_or("", |topic| TOPICS[topic]);
        if at.has(id, topico, None) {
            topics.entry(topico).or_default().push((time(row.minute).to_sql(), id, row));
        }
        let (mut readings, minute) = row.readings();
        let known = known.entry(topico).or_default();
        readings.retain(|(campo, _)| {
            let is_known = known.iter().any(|(known, ..)| known == campo);
            let new = known.iter().filter(|(_, _, minute)| *minute == row.minute).count();
            let is_new = !is_known && new < LIMITS.new_in_minute && known.len() < LIMITS.fields;
            known.extend(is_new.then_some((*campo, id, row.minute)));
            is_known || is_new
        });
        for (campo, value) in readings.into_iter().filter(|(campo, _)| at.has(id, topico, Some(campo))) {
            let at = time(minute).to_sql();
            fields.entry((topico, campo)).or_default().push((at.clone(), id, value));
            if let (Some(number), _) = value {
                let minuto = format!("{}:00", &at[..16]);
                roll_ups.entry(("leituras_minuto", topico, campo, minuto)).or_default().push(number);
                let hora = format!("{}:00:00", &at[..13]);
                roll_ups.entry(("leituras_hora", topico, campo, hora)).or_default().push(number);
            }
        }
    }
    let show = |number: Option<f64>| number.map(|number| format!("{number:.1}")).unwrap_or_default();
    for ((topico, campo), mut readings) in fields {
        let newest = newest(&readings).clone();
        readings.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        for (at, id, (numero, texto)) in &readings {
            let line = format!("{topico}|{campo}|{at}|{id}|{}|{}", show(*numero), texto.unwrap_or_default());
            tables.entry("leituras").or_default().push(line);
        }
        let (at, id, (numero, texto)) = newest;
        let (numero, texto, count) = (show(numero), texto.unwrap_or_default(), readings.len());
        let first = known[topico].iter().find(|(known, ..)| *known == campo).map_or(0, |(_, id, _)| *id);
        let line = format!("{topico}|{campo}|{id}|{numero}|{texto}|{at}|{count}|{first}");
        tables.entry("campos").or_default().push(line);
    }
    for (topico, messages) in topics {
        let skew = messages.iter().rev().find_map(|(_, _, sent)| match sent.payload {
            Payload::Timed(_, minute) => Some(time(minute).as_ms() - time(sent.minute).as_ms()),
            _ => None,
        });
        let skew = skew.map(|skew| skew.to_string()).unwrap_or_default();
        let timed = |(_, _, sent): &&(String, i64, &Sent)| matches!(sent.payload, Payload::Timed(..));
        let untimed = messages.len() - messages.iter().filter(timed).count();
        let (at, id, newest) = newest(&messages);
        let numero = match newest.payload {
            Payload::Number(number) => Some(number.into()),
            _ => None,
        };
        let (valor, numero, count) = (newest.row().valor, show(numero), messages.len());
        let line = format!("{topico}|{id}|{valor}|{numero}|{at}|{count}|{skew}|{untimed}");
        tables.entry("topicos").or_default().push(line);
    }
    for ((table, topico, campo, inicio), numbers) in roll_ups {
        let min = numbers.iter().copied().fold(f64::INFINITY, f64::min);
        let max = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (n, sum) = (numbers.len(), numbers.iter().sum::<f64>());
        let line = format!("{topico}|{campo}|{inicio}|{n}|{sum:.1}|{min:.1}|{max:.1}");
        tables.entry(table).or_default().push(line);
    }
    tables
}

/// What arrived last of what is not ahead of our clock, or else of all.
fn newest<V>(arrived: &[(String, i64, V)]) -> &(String, i64, V) {
    let latest = time(NOW_MINUTE).as_ms() + 5 * 60_000;
    let is_plausible = |(at, ..): &&(String, i64, V)| at.parse::<Timestamp>().unwrap().as_ms() <= latest;
    arrived.iter().rev().find(is_plausible).unwrap_or(&arrived[arrived.len() - 1])
}

/// Each row as one text; the numbers of the test are whole or halves of nothing, and so print alike.
const SELECTS: [(&str, &str); 5] = [
    ("leituras", "topico, campo, timestamp, dado_id, numero, texto"),
    ("topicos", "topico, ultimo_id, ultimo_valor, ultimo_numero, ultimo_timestamp, mensagens, desvio_ms, sem_hora"),
    ("campos", "topico, campo, ultimo_id, ultimo_numero, ultimo_texto, ultimo_timestamp, leituras, primeiro_id"),
    ("leituras_minuto", "topico, campo, minuto, n, soma, minimo, maximo"),
    ("leituras_hora", "topico, campo, hora, n, soma, minimo, maximo"),
];

async fn tables(dir: &TempDir) -> Tables {
    let options = SqliteConnectOptions::new().filename(dir.path().join("dados.db")).read_only(true);
    let mut conn: SqliteConnection = options.connect().await.unwrap();
    let mut tables = Tables::new();
    for (table, columns) in SELECTS {
        let shown: Vec<String> = columns.split(", ").map(|column| format!("coalesce({column}, '')")).collect();
        // In the order of the key, which columns begin with; `campos` and `topicos` have a key of their own.
        let sql = format!("select {} from {table} order by {columns}", shown.join(" || '|' || "));
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut conn).await.unwrap();
        tables.insert(table, rows.iter().map(|row| row.get(0)).collect());
    }
    conn.close().await.unwrap();
    tables
}

/// A database, and what is done to it.
struct Bench {
    dir: TempDir,
    rules: Rules,
    writer: Writer,
    reader: Reader,
    rows: Vec<Sent>,
}

async fn open(dir: &TempDir) -> (Writer, Reader) {
    connect(&format!("sqlite:{}/dados.db", dir.path().display()), 1).await.unwrap()
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (writer, reader) = open(&dir).await;
        Self { dir, rules: "ts".parse().unwrap(), writer, reader, rows: Vec::new() }
    }

    async fn at(&mut self) -> Projected {
        self.writer.projected().await.unwrap()
    }

    /// Whether there was anything to take up.
    async fn advance(&mut self, from: Position, last_id: i64, pace: Pace, way: (Generation, Carried)) -> bool {
        let messages = self.reader.messages(&from, last_id, pace.rows).await.unwrap();
        if messages.is_empty() && from.ahead.is_none() {
            return false;
        }
        let (generation, carried) = way;
        let now = time(NOW_MINUTE);
        let mut known = Known::new(LIMITS);
        for topico in known.missing(&messages, generation) {
            let way = (generation, carried);
            let fields = self.reader.known_fields(&topico, from.last_id, way, LIMITS.fields).await.unwrap();
            known.load(topico, fields);
        }
        let (steps, losses) = derive(&from, &messages, &self.rules, carried, pace.rows_of_step, now, &mut known);
        assert_eq!((losses.untimed, losses.omitted_fields), (0, 0));
        let (mut at, is_new, end) = (from.clone(), from.ahead.is_none(), steps.to().clone());
        for (number, step) in steps.enumerate() {
            assert_eq!(at, step.from, "each begins where the last one ended");
            // The last field's readings may be as many again, each with a minute and an hour of its own.
            assert!(!is_new || step.rows() <= 4 * pace.rows_of_step + 1, "{} rows", step.rows());
            at = step.to.clone();
            if number < pace.steps {
                self.writer.project(&step, generation).await.unwrap();
            }
        }
        assert_eq!(at, end);
        assert_eq!(at.ahead, None, "all of them take up whole messages");
        true
    }

    async fn advance_current(&mut self, pace: Pace) -> bool {
        let from = self.at().await.current;
        self.advance(from, i64::MAX, pace, (Generation::Current, Carried::default())).await
    }

    async fn advance_anew(&mut self, pace: Pace) -> bool {
        let Projected { current, next: Some(Next { at, carried }) } = self.at().await else { return false };
        self.advance(at, current.last_id, pace, (Generation::Next, carried)).await
    }

    async fn begin_anew(&mut self) {
        let Projected { current: Position { ahead: None, .. }, next: None } = self.at().await else { return };
        while self.writer.sweep_old().await.unwrap() {}
        let until = self.writer.begin_next().await.unwrap();
        let mut to = until.map(|_| CarriedTo::default());
        while let (Some(from), Some(until)) = (&to, until) {
            to = self.writer.carry_over(from, until).await.unwrap();
        }
        self.writer.next_is_ready(until).await.unwrap();
    }

    async fn happen(&mut self, event: Event) {
        match event {
            Event::Store(sent) => {
                let batch = Batch { rows: sent.iter().map(Sent::row).collect(), origin: Origin::Unmarked };
                self.writer.write(&[&batch], Timestamp::now()).await.unwrap();
                self.rows.extend(sent);
            }
            Event::Advance(pace) => {
                self.advance_current(pace).await;
            }
            Event::StepFromElsewhere => {
                let Projected { current, .. } = self.at().await;
                let to = Position::whole(current.last_id + 2);
                let from = Position { last_id: current.last_id + 1, ..current };
                let step = Step { from, to, ..Step::default() };
                self.writer.project(&step, Generation::Current).await.unwrap_err();
            }
            Event::Die => self.die().await,
            Event::BeginAnew => self.begin_anew().await,
            Event::AdvanceAnew(pace) => {
                self.advance_anew(pace).await;
            }
            Event::Swap => {
                let Projected { current, next } = self.at().await;
                let is_as_far = next.is_some_and(|next| next.at == current && current.ahead.is_none());
                assert_eq!(self.writer.swap().await.unwrap(), is_as_far);
            }
            Event::Sweep => {
                self.writer.sweep_old().await.unwrap();
            }
        }
    }

    async fn execute(&mut self, sql: &'static str) {
        sqlx::query(sql).execute(self.writer.connection().await.unwrap()).await.unwrap();
    }

    /// Nothing is closed in order.
    async fn die(&mut self) {
        let Self { dir, .. } = self;
        let elsewhere = tempfile::tempdir().unwrap();
        let (writer, reader) = open(&elsewhere).await;
        drop((std::mem::replace(&mut self.writer, writer), std::mem::replace(&mut self.reader, reader)));
        let (writer, reader) = open(dir).await;
        (self.writer, self.reader) = (writer, reader);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn projections_are_what_a_naive_computation_gives(events in prop::collection::vec(event(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bench = Bench::new().await;
            for event in events {
                bench.happen(event).await;
                // What has been taken up is exact at any moment.
                let at = bench.at().await.current;
                assert_eq!(tables(&bench.dir).await, expected(&bench.rows, &at));
            }
            while bench.advance_current(ALL).await {}
            bench.begin_anew().await;
            while bench.advance_anew(ALL).await {}
            assert!(bench.writer.swap().await.unwrap());
            while bench.writer.sweep_old().await.unwrap() {}
            assert_eq!(tables(&bench.dir).await, expected(&bench.rows, &Position::whole(i64::MAX)));
        });
    }
}

#[tokio::test]
async fn an_id_that_is_given_again_between_two_pieces_counts() {
    let mut bench = Bench::new().await;
    let sent = |topic| Sent { topic: Some(topic), payload: Payload::Number(7), minute: 0 };
    bench.happen(Event::Store(vec![sent(0), sent(2), sent(2)])).await;
    // `b` is ahead, with the message that goes.
    bench.advance_current(Pace { steps: 1, rows_of_step: 2, ..ALL }).await;
    bench.rows.pop();
    bench.execute("delete from dados where id = 3").await;
    // As where the column has no `autoincrement`.
    bench.execute("update sqlite_sequence set seq = 2 where name = 'dados'").await;
    bench.happen(Event::Store(vec![sent(2)])).await;
    while bench.advance_current(ALL).await {}
    // What is deleted by hand stays counted.
    let topics = &tables(&bench.dir).await["topicos"];
    assert!(topics[0].starts_with("b|3|7|7.0|2026-11-23 03:00:00.000|3|"), "{topics:?}");
}
