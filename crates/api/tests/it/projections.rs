//! Readings, lists and roll-ups: they follow what is stored, through crashes, begin anew, and outlive what is deleted.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqliteConnection};
use tempfile::TempDir;

use crate::program::{LOOK_INTERVAL, PROGRAM, Running, command};
use crate::{App, NDJSON, database, spawn_app, spawn_with};

/// Rows of the test of crashes, and of a request in it.
const ROWS: usize = 20_000;
const ROWS_PER_REQUEST: usize = 500;
const DAY: Duration = Duration::from_secs(86_400);

async fn query(dir: &TempDir, sql: &str) -> Vec<String> {
    let options = SqliteConnectOptions::new().filename(database(dir.path())).read_only(true);
    let mut conn: SqliteConnection = options.connect().await.unwrap();
    let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Every row of all projections, as text.
async fn all(dir: &TempDir) -> Vec<String> {
    let mut all = Vec::new();
    for (table, columns) in [
        ("leituras", "topico || campo || timestamp || dado_id || coalesce(numero, '') || coalesce(texto, '')"),
        ("topicos", "topico || ultimo_id || ultimo_valor || ultimo_timestamp || mensagens"),
        ("campos", "topico || campo || ultimo_id || ultimo_timestamp || leituras"),
        ("leituras_minuto", "topico || campo || minuto || n || soma || minimo || maximo"),
        ("leituras_hora", "topico || campo || hora || n || soma || minimo || maximo"),
    ] {
        all.extend(query(dir, &format!("select '{table} ' || {columns} from {table} order by 1")).await);
    }
    all
}

async fn state(url: &str) -> Value {
    let ready = crate::client().get(format!("{url}/readyz")).send().await.unwrap();
    ready.json::<Value>().await.unwrap()["leituras"].clone()
}

/// Waits until all that is stored is in the projections.
async fn caught_up(url: &str) {
    while state(url).await["atraso"] != 0 {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

impl App {
    async fn store(&self, lines: &str) {
        assert_eq!(self.post(NDJSON, lines.to_owned()).send().await.unwrap().status(), 201);
    }
}

fn lines(from: usize, count: usize) -> String {
    let line = |number: usize| {
        let (topic, minute, value) = (number % 7, number % 50, number % 100);
        format!(
            "{{\"topico\":\"casa/{topic}\",\"timestamp\":\"2026-11-23T03:{minute:02}:07Z\",\"valor\":{{\"t\":{value}.5,\"on\":true}}}}\n"
        )
    };
    (from..from + count).map(line).collect()
}

#[tokio::test]
async fn a_reading_is_there_soon_after_it_was_posted() {
    let app = spawn_app().await;
    app.store(
        r#"{"topico":"casa/sala","timestamp":"2026-11-23T03:21:45.678Z","valor":{"temperatura":21.5,"modo":"eco"}}"#,
    )
    .await;
    caught_up(&app.url("")).await;
    let readings = "select topico || ' ' || campo || ' ' || timestamp || ' ' || coalesce(numero, texto) from leituras";
    assert_eq!(
        query(&app.dir, readings).await,
        ["casa/sala modo 2026-11-23 03:21:45.678 eco", "casa/sala temperatura 2026-11-23 03:21:45.678 21.5"]
    );
    let minute = "select campo || ' ' || minuto || ' ' || n || ' ' || soma from leituras_minuto";
    assert_eq!(query(&app.dir, minute).await, ["temperatura 2026-11-23 03:21:00 1 21.5"]);
}

#[tokio::test]
async fn ever_new_field_names_make_no_endless_series_and_a_rebuild_comes_to_the_same() {
    let app = spawn_app().await;
    let line = |topic: &str, number: usize, name: &str| {
        let fields: Vec<String> = (0..60).map(|field| format!(r#""{name}{field}":{field}"#)).collect();
        let minute = number / 100;
        format!(
            "{{\"topico\":\"{topic}\",\"timestamp\":\"2026-11-23T03:{minute:02}:07Z\",\"valor\":{{{}}}}}\n",
            fields.join(",")
        )
    };
    let lines = (0..200).map(|number| line("a", number, &format!("m{number}_")) + &line("b", number, "f"));
    app.store(&lines.collect::<String>()).await;
    caught_up(&app.url("")).await;
    let counts = "select topico || ' ' || count(*) from campos group by topico";
    assert_eq!(query(&app.dir, counts).await, ["a 1024", "b 60"]);
    let messages = "select topico || ' ' || mensagens from topicos order by 1";
    assert_eq!(query(&app.dir, messages).await, ["a 200", "b 200"]);
    assert_eq!(query(&app.dir, "select cast(count(*) as text) from dados").await, ["400"], "all is kept as it came");
    let omitted = 200 * 60 - 1024;
    assert_eq!(state(&app.url("")).await["omitidas"], omitted);
    let metrics = app.get("/metrics").send().await.unwrap().text().await.unwrap();
    let metric = format!("ponte_api_readings_lost_total{{kind=\"new_field\"}} {omitted}");
    assert!(metrics.contains(&metric), "{metrics}");
    let before = all(&app.dir).await;
    assert_eq!(app.client.post(app.url("/leituras/refazer")).send().await.unwrap().status(), 202);
    while state(&app.url("")).await["refeitas"] != 1 {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    assert_eq!(all(&app.dir).await, before);
}

#[tokio::test]
async fn a_time_in_the_future_never_freezes_the_newest_value() {
    let app = spawn_app().await;
    let now = dados::Timestamp::now();
    let line = |time: &str, value: u32| format!(r#"{{"topico":"a","timestamp":"{time}","valor":{{"t":{value}}}}}"#);
    let newest = async || {
        caught_up(&app.url("")).await;
        let topics: Value = app.get("/topicos?topico=a").send().await.unwrap().json().await.unwrap();
        (topics[0]["ultimo_id"].clone(), topics[0]["ultimo_valor"].clone(), topics[0]["campos"][0]["numero"].clone())
    };
    let expected = |id: u64| (id.into(), format!("{{\"t\":{id}}}").into(), (id as f64).into());
    app.store(&line("2100-01-01T00:00:00Z", 1)).await;
    assert_eq!(newest().await, expected(1));
    // A plausible time takes its place, and what is in the future no longer takes that one's: in a step of its own, and
    // together with others.
    app.store(&line(&now.to_string(), 2)).await;
    assert_eq!(newest().await, expected(2));
    app.store(&line("2099-01-01T00:00:00Z", 3)).await;
    assert_eq!(newest().await, expected(2));
    app.store(&[line(&now.to_string(), 4), line("2098-01-01T00:00:00Z", 5)].join("\n")).await;
    assert_eq!(newest().await, expected(4));
}

#[tokio::test]
async fn a_device_s_own_time_is_taken_and_a_wrong_one_is_counted() {
    let rules = "casa/#=ts".parse().unwrap();
    let app = spawn_with(tempfile::tempdir().unwrap(), |config| config.timestamp_field = rules).await;
    app.store(
        r#"{"topico":"casa/a","timestamp":"2026-11-23T03:21:45.678Z","valor":{"t":1,"ts":1795404000}}
           {"topico":"casa/b","timestamp":"2026-11-23T03:21:45.678Z","valor":{"t":2,"ts":12}}
           {"topico":"outro","timestamp":"2026-11-23T03:21:45.678Z","valor":{"t":3,"ts":1795404000}}"#,
    )
    .await;
    caught_up(&app.url("")).await;
    let readings =
        "select topico || ' ' || campo || ' ' || timestamp || coalesce(' captured ' || capturado, '') from leituras";
    assert_eq!(
        query(&app.dir, readings).await,
        [
            "casa/a t 2026-11-23 03:20:00.000 captured 2026-11-23 03:21:45.678",
            "casa/b t 2026-11-23 03:21:45.678",
            "casa/b ts 2026-11-23 03:21:45.678",
            "outro t 2026-11-23 03:21:45.678",
            "outro ts 2026-11-23 03:21:45.678",
        ]
    );
    let clocks = "select topico || ' ' || coalesce(desvio_ms, '') || ' ' || sem_hora from topicos";
    assert_eq!(query(&app.dir, clocks).await, ["casa/a -105678 0", "casa/b  1", "outro  0"]);
    let metrics = app.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("ponte_api_readings_lost_total{kind=\"device_time\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn numbers_beyond_all_sums_hold_nothing_up() {
    let app = spawn_app().await;
    // In one step, and then in steps of their own.
    for lines in ["1.7e308\n1.7e308\n-1.7e308\n-1.7e308", "1.7e308", "1.7e308", "-1.7e308", "-1.7e308", "-1.7e308"] {
        let line = |valor| format!(r#"{{"topico":"a","timestamp":"2026-11-23T03:21:45Z","valor":{valor}}}"#);
        app.store(&lines.lines().map(line).collect::<Vec<_>>().join("\n")).await;
        caught_up(&app.url("")).await;
    }
    let minute = "select n || ' ' || (abs(soma) <= 1.7976931348623157e308) from leituras_minuto";
    assert_eq!(query(&app.dir, minute).await, ["9 1"]);
    let series = app.get("/series?topico=a&desde=2026-11-23&ate=2026-11-23&passo=1h").send().await.unwrap();
    assert_eq!(series.status(), 200);
}

/// The API is killed in the middle of the projector's work, again and again.
#[tokio::test]
async fn killed_at_any_moment_the_projections_are_exact() {
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let mut api = command(PROGRAM, &dir);
        api.args(["--api-addr", "127.0.0.1:0"]);
        Running::start(api)
    };
    let mut sent = 0;
    for life in 0..8 {
        let api = start().await.unwrap();
        for _ in 0..ROWS / ROWS_PER_REQUEST / 8 {
            let body = lines(sent, ROWS_PER_REQUEST);
            assert_eq!(api.post(NDJSON, body).send().await.unwrap().status(), 201);
            sent += ROWS_PER_REQUEST;
        }
        // Once at once, then later and later.
        tokio::time::sleep(LOOK_INTERVAL * life).await;
        // Dropping it kills it.
    }
    let api = start().await.unwrap();
    caught_up(&format!("http://{}", api.addr)).await;
    assert_eq!(query(&dir, "select sum(n) || '' from leituras_minuto where campo = 't'").await, [ROWS.to_string()]);
    assert_eq!(query(&dir, "select sum(mensagens) || '' from topicos").await, [ROWS.to_string()]);
    assert_eq!(query(&dir, "select count(*) || '' from leituras").await, [(2 * ROWS).to_string()]);
    let sums = "select count(*) || '' from (
                    select topico, json_extract(valor, '$.t') as t, strftime('%Y-%m-%d %H:%M:00', timestamp) as minuto,
                           count(*) as n, sum(json_extract(valor, '$.t')) as soma
                    from dados group by topico, minuto
                ) as raw join leituras_minuto as m on m.topico = raw.topico and m.campo = 't'
                    and m.minuto = raw.minuto and m.n = raw.n and m.soma = raw.soma";
    let minutes = query(&dir, "select count(*) || '' from leituras_minuto where campo = 't'").await;
    assert_eq!(query(&dir, sums).await, minutes);
}

#[tokio::test]
async fn reproject_makes_all_anew_while_the_api_takes_data_and_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = command(PROGRAM, &dir);
    program.args(["--api-addr", "127.0.0.1:0"]);
    let mut api = Running::start(program).await.unwrap();
    assert_eq!(api.post(NDJSON, lines(0, ROWS_PER_REQUEST)).send().await.unwrap().status(), 201);
    let url = format!("http://{}", api.addr);
    caught_up(&url).await;
    let before = all(&dir).await;

    let reproject = |addr: String| {
        let mut command = command(PROGRAM, &dir);
        command.args(["--api-addr", &addr, "reproject"]);
        command
    };
    let running = reproject(api.addr.clone()).spawn().unwrap();
    for request in 1..20 {
        let body = lines(request * ROWS_PER_REQUEST, ROWS_PER_REQUEST);
        assert_eq!(api.post(NDJSON, body).send().await.unwrap().status(), 201);
    }
    let output = tokio::task::spawn_blocking(|| running.wait_with_output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().ends_with("done\n"));
    caught_up(&url).await;
    assert_eq!(state(&url).await["refeitas"], 1);
    let after = all(&dir).await;
    assert!(after.len() > before.len());
    assert_eq!(api.terminate(), Some(0));

    // Somebody has spoilt them; with no API that runs, it is done here.
    let mut conn = SqliteConnectOptions::new().filename(database(dir.path())).connect().await.unwrap();
    sqlx::raw_sql(
        "delete from leituras where campo = 't'; update topicos set mensagens = 1; delete from leituras_hora",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    conn.close().await.unwrap();
    assert_ne!(all(&dir).await, after);
    let output = tokio::task::spawn_blocking({
        let mut command: Command = reproject("127.0.0.1:1".to_owned());
        move || command.output()
    });
    let output = output.await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(all(&dir).await, after);
    let tables = "select name from sqlite_master where name glob 'refeita_*'";
    assert!(query(&dir, tables).await.is_empty());
}

#[tokio::test]
async fn what_is_too_old_goes_and_roll_ups_outlive_it() {
    let now = dados::Timestamp::now().as_ms();
    let at = |days: i64| dados::Timestamp::from_ms(now - days * DAY.as_millis() as i64).unwrap();
    let line = |number: usize, days: i64| {
        let valor = "x".repeat(2_000);
        format!(r#"{{"topico":"casa","timestamp":"{}","valor":{{"t":{number},"resto":"{valor}"}}}}"#, at(days))
    };
    let app = spawn_app().await;
    let (old, new) = (2_000, 40);
    let body: Vec<String> =
        (0..old).map(|number| line(number, 10)).chain((0..new).map(|number| line(number, 1))).collect();
    app.store(&body.join("\n")).await;
    // One that came late, with an old time, among new ones.
    app.store(&line(7, 20)).await;
    caught_up(&app.url("")).await;
    let roll_ups = "select hora || ' ' || n || ' ' || soma from leituras_hora";
    let before = query(&app.dir, roll_ups).await;
    let dir = app.stop().await;
    let size = std::fs::metadata(database(dir.path())).unwrap().len();

    let app = spawn_with(dir, |config| {
        config.retention_dados = Some(5 * DAY);
        config.retention_leituras = Some(5 * DAY);
    })
    .await;
    // Nearly all of the table: that wants an operator's word.
    assert_eq!(app.client.post(app.url("/retencao/aplicar")).send().await.unwrap().status(), 202);
    let left = format!("select count(*) || '' from dados where timestamp < '{}'", at(5).to_sql());
    while query(&app.dir, &left).await != ["0"] {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    let readings = format!("select count(*) || '' from leituras where timestamp < '{}'", at(5).to_sql());
    while query(&app.dir, &readings).await != ["0"] {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    let messages = "select mensagens || ' ' || apagadas from topicos";
    let count = old + new + 1;
    assert_eq!(query(&app.dir, messages).await, [format!("{count} {}", old + 1)]);

    // Anew: what is gone is in the roll-ups all the same.
    let kept = query(&app.dir, roll_ups).await;
    assert!(before.iter().filter(|line| line.contains(" 2000 ")).all(|line| kept.contains(line)));
    assert_eq!(app.client.post(app.url("/leituras/refazer")).send().await.unwrap().status(), 202);
    while state(&app.url("")).await["refeitas"] != 1 {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    assert_eq!(query(&app.dir, roll_ups).await, kept);
    assert_eq!(query(&app.dir, messages).await, [format!("{count} {}", old + 1)]);
    let dir = app.stop().await;
    assert!(std::fs::metadata(database(dir.path())).unwrap().len() < size, "the space was given back");
}
