//! `GET /series`: points are what their minutes and hours are made of, in any step, as JSON and as CSV.

use dados::{Ponto, Serie, Timestamp};
use reqwest::Response;

use crate::topics::execute;
use crate::{App, problem, spawn_app};

/// Three hours of minutes, of which some have no reading, and the same by hour; another field, another topic, and
/// readings without a topic.
const NUMBERS: &str = "
    insert into leituras_minuto (topico, campo, minuto, n, soma, minimo, maximo) values
        ('casa/sala', 'temperatura', '2026-11-22 23:58:00', 2, 30.5, 15.0, 15.5),
        ('casa/sala', 'temperatura', '2026-11-23 00:00:00', 2, 41.5, 20.5, 21.0),
        ('casa/sala', 'temperatura', '2026-11-23 00:04:00', 1, 22.0, 22.0, 22.0),
        ('casa/sala', 'temperatura', '2026-11-23 00:05:00', 4, 80.0, 19.0, 21.0),
        ('casa/sala', 'temperatura', '2026-11-23 00:59:00', 1, -3.25, -3.25, -3.25),
        ('casa/sala', 'temperatura', '2026-11-23 02:00:00', 3, 60.0, 20.0, 20.0),
        ('casa/sala', 'umidade', '2026-11-23 00:00:00', 9, 9, 1, 1),
        ('casa', 'temperatura', '2026-11-23 00:00:00', 9, 9, 1, 1),
        ('', 'valor', '2026-11-23 00:00:00', 2, 43.5, 21.5, 22);
    insert into leituras_hora (topico, campo, hora, n, soma, minimo, maximo) values
        ('casa/sala', 'temperatura', '2026-11-22 23:00:00', 2, 30.5, 15.0, 15.5),
        ('casa/sala', 'temperatura', '2026-11-23 00:00:00', 8, 140.25, -3.25, 22.0),
        ('casa/sala', 'temperatura', '2026-11-23 02:00:00', 3, 60.0, 20.0, 20.0),
        ('casa/sala', 'umidade', '2026-11-23 00:00:00', 9, 9, 1, 1),
        ('casa', 'temperatura', '2026-11-23 00:00:00', 9, 9, 1, 1),
        ('', 'valor', '2026-11-23 00:00:00', 2, 43.5, 21.5, 22)";
/// The range and the field that most tests are about.
const SALA: &str = "topico=casa/sala&campo=temperatura&desde=2026-11-23T00:00:00Z&ate=2026-11-23T03:00:00Z";

async fn filled() -> App {
    let app = spawn_app().await;
    execute(&app, NUMBERS).await;
    app
}

async fn get(app: &App, query: &str) -> Response {
    let response = app.get(&format!("/series?{query}")).send().await.unwrap();
    assert_eq!(response.status(), 200, "{query}");
    response
}

async fn series(app: &App, query: &str) -> Serie {
    get(app, query).await.json().await.unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn point(inicio: &str, n: u64, media: f64, minimo: f64, maximo: f64) -> Ponto {
    Ponto { inicio: at(inicio), n, media: Some(media), minimo, maximo }
}

#[tokio::test]
async fn minutes_become_the_points_of_any_step() {
    let app = filled().await;
    let minutes = [
        point("2026-11-23T00:00:00Z", 2, 20.75, 20.5, 21.0),
        point("2026-11-23T00:04:00Z", 1, 22.0, 22.0, 22.0),
        point("2026-11-23T00:05:00Z", 4, 20.0, 19.0, 21.0),
        point("2026-11-23T00:59:00Z", 1, -3.25, -3.25, -3.25),
        point("2026-11-23T02:00:00Z", 3, 20.0, 20.0, 20.0),
    ];
    let fives = [
        point("2026-11-23T00:00:00Z", 3, 63.5 / 3.0, 20.5, 22.0),
        minutes[2],
        point("2026-11-23T00:55:00Z", 1, -3.25, -3.25, -3.25),
        minutes[4],
    ];
    let quarters = [
        point("2026-11-23T00:00:00Z", 7, 143.5 / 7.0, 19.0, 22.0),
        point("2026-11-23T00:45:00Z", 1, -3.25, -3.25, -3.25),
        minutes[4],
    ];
    let hours = [point("2026-11-23T00:00:00Z", 8, 140.25 / 8.0, -3.25, 22.0), minutes[4]];
    let whole = [point("2026-11-23T00:00:00Z", 11, 200.25 / 11.0, -3.25, 22.0)];
    for (passo, ate, expected) in [
        ("1m", "2026-11-23T03:00:00Z", minutes.as_slice()),
        ("5m", "2026-11-23T03:00:00Z", &fives),
        ("15m", "2026-11-23T03:00:00Z", &quarters),
        ("1h", "2026-11-23T03:00:00Z", &hours),
        ("6h", "2026-11-23T06:00:00Z", &whole),
        ("1d", "2026-11-24T00:00:00Z", &whole),
    ] {
        let serie = series(&app, &format!("{SALA}&passo={passo}")).await;
        assert_eq!(serie.pontos, expected, "{passo}");
        assert_eq!((serie.passo.as_str(), serie.desde, serie.ate), (passo, at("2026-11-23T00:00:00Z"), at(ate)));
    }
}

#[tokio::test]
async fn the_answer_has_this_form() {
    let app = filled().await;
    let response = get(&app, &format!("{SALA}&passo=1h")).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["vary"], "accept");
    assert_eq!(
        response.text().await.unwrap(),
        concat!(
            r#"{"topico":"casa/sala","campo":"temperatura","passo":"1h","#,
            r#""desde":"2026-11-23T00:00:00.000Z","ate":"2026-11-23T03:00:00.000Z","pontos":["#,
            r#"{"inicio":"2026-11-23T00:00:00.000Z","n":8,"media":17.53125,"minimo":-3.25,"maximo":22.0},"#,
            r#"{"inicio":"2026-11-23T02:00:00.000Z","n":3,"media":20.0,"minimo":20.0,"maximo":20.0}]}"#
        )
    );
}

#[tokio::test]
async fn the_range_takes_in_every_step_that_it_touches() {
    let app = filled().await;
    for (range, passo, desde, ate, points) in [
        ("desde=2026-11-23T00:05:59.999Z&ate=2026-11-23T02:00:00Z", "1m", "00:05:00", "02:00:00", 2),
        ("desde=2026-11-23T00:05:59Z&ate=2026-11-23T02:00:00.001Z", "1m", "00:05:00", "02:01:00", 3),
        ("desde=2026-11-23 00:59:30&ate=2026-11-23 02:30:00", "1h", "00:00:00", "03:00:00", 2),
        ("desde=2026-11-22T21:00:00-03:00&ate=2026-11-23T01:30:00+00:30", "1h", "00:00:00", "01:00:00", 1),
    ] {
        let serie = series(&app, &format!("topico=casa/sala&campo=temperatura&{range}&passo={passo}")).await;
        let day = |time: &str| at(&format!("2026-11-23T{time}Z"));
        assert_eq!((serie.desde, serie.ate, serie.pontos.len()), (day(desde), day(ate), points), "{range}");
    }
    // Days are whole.
    let serie = series(&app, "topico=casa/sala&campo=temperatura&desde=2026-11-22&ate=2026-11-23&passo=1d").await;
    assert_eq!((serie.desde, serie.ate), (at("2026-11-22T00:00:00Z"), at("2026-11-24T00:00:00Z")));
    assert_eq!(serie.pontos.iter().map(|ponto| ponto.n).collect::<Vec<_>>(), [2, 11]);
}

#[tokio::test]
async fn what_is_not_said_is_chosen() {
    let app = filled().await;
    // Chosen for 24 hours, 30 days and a year; a chart wants no more than 1,000 points.
    for (range, passo) in
        [("", "5m"), ("&desde=-16h", "1m"), ("&desde=-7d", "15m"), ("&desde=-30d", "1h"), ("&desde=-365d", "1d")]
    {
        let serie = series(&app, &format!("topico=casa/sala&campo=temperatura{range}")).await;
        assert_eq!(serie.passo, passo, "{range}");
    }
    let before = Timestamp::now();
    let serie = series(&app, "topico=casa/sala").await;
    assert_eq!(serie.campo, "valor");
    assert!(serie.ate >= before);
    let length_ms = serie.ate.as_ms() - serie.desde.as_ms();
    let (day_ms, step_ms) = (24 * 60 * 60 * 1000, 5 * 60 * 1000);
    assert!((day_ms..=day_ms + step_ms).contains(&length_ms), "{length_ms}");
}

#[tokio::test]
async fn readings_without_a_topic_have_a_series() {
    let app = filled().await;
    let serie = series(&app, "topico=&desde=2026-11-23&ate=2026-11-23&passo=1d").await;
    assert_eq!((serie.topico, serie.campo.as_str()), (None, "valor"));
    assert_eq!(serie.pontos, [point("2026-11-23T00:00:00Z", 2, 21.75, 21.5, 22.0)]);
}

#[tokio::test]
async fn what_is_unknown_has_no_points() {
    let app = filled().await;
    for query in [
        "topico=casa/cozinha&campo=temperatura",
        "topico=casa/sala&campo=pressao",
        "topico=Casa/sala&campo=temperatura",
        "topico=casa/sala&campo=",
        "topico=&campo=temperatura",
    ] {
        let serie = series(&app, &format!("{query}&desde=2026-11-23&ate=2026-11-23")).await;
        assert_eq!(serie.pontos, [], "{query}");
    }
    let empty = spawn_app().await;
    assert_eq!(series(&empty, SALA).await.pontos, []);
}

#[tokio::test]
async fn csv_is_a_file() {
    let app = filled().await;
    let expected = "inicio,n,media,minimo,maximo\r\n\
        2026-11-23T00:00:00.000Z,8,17.53125,-3.25,22.0\r\n\
        2026-11-23T02:00:00.000Z,3,20.0,20.0,20.0\r\n";
    let path = format!("/series?{SALA}&passo=1h");
    for request in [
        app.get(&format!("{path}&formato=csv")),
        app.get(&format!("{path}&formato=csv")).header("accept", "application/json"),
        app.get(&path).header("accept", "text/csv"),
        app.get(&path).header("accept", "text/csv, */*;q=0.1"),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/csv; charset=utf-8; header=present");
        let name = "attachment; filename=\"casa-sala_temperatura_1h.csv\"";
        assert_eq!(response.headers()["content-disposition"], name);
        assert_eq!(response.text().await.unwrap(), expected);
    }
    for request in
        [app.get(&path).header("accept", "*/*"), app.get(&format!("{path}&formato=json")).header("accept", "text/csv")]
    {
        assert_eq!(request.send().await.unwrap().headers()["content-type"], "application/json");
    }
    let nothing = get(&app, "topico=x&formato=csv").await.text().await.unwrap();
    assert_eq!(nothing, "inicio,n,media,minimo,maximo\r\n");
}

#[tokio::test]
async fn a_bad_parameter_is_named() {
    let app = filled().await;
    for (query, status, field) in [
        ("", 400, "topico"),
        ("campo=valor", 400, "topico"),
        ("topico=casa/%2B", 400, "topico"),
        ("topico=a&topico=b", 400, "topico"),
        ("topico=a&desde=ontem", 400, "desde"),
        ("topico=a&desde=24h", 400, "desde"),
        ("topico=a&desde=-1h&ate=-2h", 422, "desde"),
        ("topico=a&ate=2026-13-01", 400, "ate"),
        ("topico=a&passo=2h", 400, "passo"),
        ("topico=a&passo=1h&passo=1h", 400, "passo"),
        ("topico=a&formato=xml", 400, "formato"),
        ("topico=a&limite=5", 400, "limite"),
        ("topico=a&desde=-8d&passo=1m", 422, "passo"),
        ("topico=a&desde=1950-01-01&passo=1d", 422, "passo"),
        ("topico=a&desde=1950-01-01", 422, "desde"),
    ] {
        let problem = problem(app.get(&format!("/series?{query}")).send().await.unwrap()).await;
        assert_eq!((problem.status, problem.field.as_deref()), (status, Some(field)), "{query}");
    }
    let long = problem(app.get("/series?topico=a&desde=-8d&passo=1m").send().await.unwrap()).await;
    let detail = "an answer has at most 10000 points; the shortest passo that fits this range is 5m";
    assert_eq!(long.detail.as_deref(), Some(detail));
}

#[tokio::test]
async fn ten_thousand_points_are_answered() {
    let app = spawn_app().await;
    let minutes = "insert into leituras_minuto
        with recursive number (n) as (select 0 union all select n + 1 from number where n < 10000)
        select 'a', 'valor', strftime('%Y-%m-%d %H:%M:%S', 1793491200 + n * 60, 'unixepoch'), 1, n, n, n from number";
    execute(&app, minutes).await;
    let serie = series(&app, "topico=a&desde=2026-11-01T00:00:00Z&ate=2026-11-07T22:40:00Z&passo=1m").await;
    assert_eq!(serie.pontos.len(), 10_000);
    assert!(serie.pontos.iter().zip(0u32..).all(|(ponto, n)| ponto.media == Some(f64::from(n))));
    assert_eq!(serie.pontos[9_999].inicio, at("2026-11-07T22:39:00Z"));
}
