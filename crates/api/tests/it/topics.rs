//! `GET /topicos`: every topic with its newest message and its fields, page by page.

use dados::{Campo, Topico};
use sqlx::{Connection as _, SqliteConnection};

use crate::{App, database, problem, spawn_app};

/// What a projector would have written: messages without a topic, as the seed's script stores them, and three topics.
const TOPICS: &str = "
    insert into topicos
        (topico, ultimo_id, ultimo_valor, ultimo_numero, ultimo_timestamp, mensagens, apagadas, desvio_ms, sem_hora)
    values
        ('', 2, '22', 22, '2024-05-20 13:14:16', 2, 0, null, 0),
        ('casa/sala', 7, '{\"temperatura\":21.5,\"estado\":\"on\"}', null, '2026-11-23 03:21:45.678', 4, 1, -1500, 3),
        ('casa/sala/luz', 8, 'ligada', null, '2026-11-23 03:21:46.000', 1, 0, null, 0),
        ('estação/1 & 2', 9, '9007199254740993', 9007199254740992, '2026-11-23 03:21:47.100', 1, 0, null, 0);
    insert into campos (topico, campo, ultimo_id, ultimo_numero, ultimo_texto, ultimo_timestamp, leituras) values
        ('', 'valor', 2, 22, null, '2024-05-20 13:14:16', 2),
        ('casa/sala', 'temperatura', 7, 21.5, null, '2026-11-23 03:21:45.678', 4),
        ('casa/sala', 'estado', 7, null, 'on', '2026-11-23 03:21:40.000', 2),
        ('casa/sala/luz', 'valor', 8, null, 'ligada', '2026-11-23 03:21:46.000', 1),
        ('estação/1 & 2', 'valor', 9, 9007199254740992, '9007199254740993', '2026-11-23 03:21:47.100', 1)";

/// Writes into the database as the projector would.
pub(crate) async fn execute(app: &App, sql: &'static str) {
    // It is there once the API answers.
    app.get("/healthz").send().await.unwrap();
    let url = format!("sqlite:{}", database(app.dir.path()).display());
    let mut conn = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

/// The names of all pages; null for none.
async fn walk(app: &App, query: &str) -> Vec<Option<String>> {
    let mut next = Some(format!("/topicos?{query}"));
    let mut names = Vec::new();
    while let Some(path) = next {
        let response = app.get(&path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let link = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        next = link.map(|link| link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned());
        let page: Vec<Topico> = response.json().await.unwrap();
        assert!(!page.is_empty() || names.is_empty(), "{path}: an empty page");
        names.extend(page.into_iter().map(|topico| topico.topico));
    }
    names
}

#[tokio::test]
async fn a_topic_is_shown_with_its_newest_message_and_its_fields() {
    let app = spawn_app().await;
    execute(&app, TOPICS).await;
    let response = app.get("/topicos").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert!(!response.headers().contains_key("link"));
    let text = response.text().await.unwrap();
    let sala = concat!(
        r#"{"topico":"casa/sala","mensagens":4,"ultimo_id":7,"ultimo_valor":"{\"temperatura\":21.5,\"estado\":\"on\"}","#,
        r#""ultimo_numero":null,"ultimo_timestamp":"2026-11-23T03:21:45.678Z","desvio_ms":-1500,"sem_hora":3,"#,
        r#""campos":[{"campo":"estado","numero":null,"texto":"on","timestamp":"2026-11-23T03:21:40.000Z","leituras":2},"#,
        r#"{"campo":"temperatura","numero":21.5,"texto":null,"timestamp":"2026-11-23T03:21:45.678Z","leituras":4}]}"#
    );
    assert!(text.contains(sala), "{text}");
    let topics: Vec<Topico> = serde_json::from_str(&text).unwrap();
    let names: Vec<_> = topics.iter().map(|topico| topico.topico.as_deref()).collect();
    assert_eq!(names, [None, Some("casa/sala"), Some("casa/sala/luz"), Some("estação/1 & 2")]);
    assert_eq!(
        topics[0],
        Topico {
            topico: None,
            mensagens: 2,
            ultimo_id: 2,
            ultimo_valor: Some("22".to_owned()),
            ultimo_numero: Some(22.0),
            ultimo_timestamp: "2024-05-20T13:14:16.000Z".to_owned(),
            desvio_ms: None,
            sem_hora: 0,
            campos: vec![Campo {
                campo: "valor".to_owned(),
                numero: Some(22.0),
                texto: None,
                timestamp: "2024-05-20T13:14:16.000Z".to_owned(),
                leituras: 2,
            }],
        }
    );
    assert_eq!(topics[3].campos[0].texto.as_deref(), Some("9007199254740993"));
}

#[tokio::test]
async fn an_empty_database_has_no_topics() {
    let app = spawn_app().await;
    for path in ["/topicos", "/topicos?topico=casa/sala", "/topicos?topico=%23", "/topicos?topico=&limite=1"] {
        assert_eq!(app.get(path).send().await.unwrap().text().await.unwrap(), "[]", "{path}");
    }
}

#[tokio::test]
async fn pages_walk_all_topics_once() {
    let app = spawn_app().await;
    execute(&app, TOPICS).await;
    let all = [None, Some("casa/sala"), Some("casa/sala/luz"), Some("estação/1 & 2")];
    let owned = |names: &[Option<&str>]| names.iter().map(|name| name.map(str::to_owned)).collect::<Vec<_>>();
    for limit in [1, 2, 3, 4, 1000] {
        assert_eq!(walk(&app, &format!("limite={limit}")).await, owned(&all), "{limit}");
        for (topico, expected) in [
            ("casa/sala", &all[1..2]),
            ("casa/%23", &all[1..3]),
            ("casa/sala/%23", &all[1..3]),
            // A `+` is a plus sign, typed or escaped.
            ("casa/+", &all[1..2]),
            ("casa/%2B", &all[1..2]),
            ("+/+", &[all[1], all[3]]),
            ("%23", &all[1..]),
            ("esta%C3%A7%C3%A3o/1%20%26%202", &all[3..]),
            ("esta%C3%A7%C3%A3o/%23", &all[3..]),
            ("", &all[..1]),
            ("casa", &[]),
            ("Casa/%23", &[]),
        ] {
            assert_eq!(walk(&app, &format!("limite={limit}&topico={topico}")).await, owned(expected), "{topico}");
        }
    }
}

#[tokio::test]
async fn a_hundred_topics_are_a_page() {
    let app = spawn_app().await;
    let many = "insert into topicos (topico, ultimo_id, ultimo_timestamp, mensagens)
        with recursive number (n) as (select 0 union all select n + 1 from number where n < 1200)
        select printf('t/%04d', n), n, '2026-11-23 03:21:45.678', 1 from number";
    execute(&app, many).await;
    for (query, topics) in [("", 100), ("?limite=1000", 1000)] {
        let response = app.get(&format!("/topicos{query}")).send().await.unwrap();
        assert!(response.headers().contains_key("link"));
        assert_eq!(response.json::<Vec<Topico>>().await.unwrap().len(), topics);
    }
    assert_eq!(walk(&app, "topico=t/%2B").await.len(), 1201);
}

#[tokio::test]
async fn a_bad_parameter_is_named() {
    let app = spawn_app().await;
    for (query, field) in [
        ("limite=0", "limite"),
        ("limite=1001", "limite"),
        ("topico=a%23", "topico"),
        ("topico=a%00", "topico"),
        ("topico=$share/g/%23", "topico"),
        ("cursor=a&cursor=b", "cursor"),
        ("ordem=asc", "ordem"),
    ] {
        let problem = problem(app.get(&format!("/topicos?{query}")).send().await.unwrap()).await;
        assert_eq!((problem.status, problem.field.as_deref()), (400, Some(field)), "{query}");
    }
    let response = app.client.post(app.url("/topicos")).send().await.unwrap();
    assert_eq!(problem(response).await.status, 405);
}

/// SQLite's own functions on texts end at a null character.
#[tokio::test]
async fn a_text_is_shown_beyond_a_null_character() {
    let app = spawn_app().await;
    let long = format!("a\0{}", "é".repeat(2_000));
    let body = serde_json::json!([{"valor": "a\0b", "topico": "short"}, {"valor": {"c\0d": long}, "topico": "long"}]);
    assert_eq!(app.post(crate::JSON, body.to_string()).send().await.unwrap().status(), 201);
    let campos = async |topico: &str| {
        loop {
            let response = app.get(&format!("/topicos?topico={topico}")).send().await.unwrap();
            let topics: Vec<Topico> = response.json().await.unwrap();
            match topics.into_iter().next() {
                Some(topic) => return topic,
                None => tokio::time::sleep(crate::program::LOOK_INTERVAL).await,
            }
        }
    };
    let short = campos("short").await;
    assert_eq!(short.ultimo_valor.as_deref(), Some("a\0b"));
    assert_eq!(short.campos[0].texto.as_deref(), Some("a\0b"));
    let long_shown: String = long.chars().take(1_024).collect();
    let shown = campos("long").await;
    assert_eq!((shown.campos[0].campo.as_str(), shown.campos[0].texto.as_ref()), ("c\0d", Some(&long_shown)));
    let csv = app.get("/dados?topico=short&formato=csv").send().await.unwrap().text().await.unwrap();
    assert!(csv.contains("a\0b"), "{csv:?}");
}
