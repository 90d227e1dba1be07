//! The ledger: what a producer received is stored, in quarantine, damaged or waiting, and what is not shows.

use dados::novo::{FIRST_SEQUENCE, PRODUCER};
use dados::{Estado, Produtor, Relato};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use uuid::Uuid;

use crate::{App, FORM, JSON, NDJSON, database, problem, spawn_app, spawn_with};

const A: Uuid = Uuid::from_u128(0xa);
const B: Uuid = Uuid::from_u128(0xb);

/// Posts the sequences `first..=last`.
async fn store(app: &App, producer: Uuid, first: u64, last: u64) {
    let lines: String = (first..=last).map(|sequence| format!("{{\"valor\":{sequence}}}\n")).collect();
    let post = app.post(NDJSON, lines).header(PRODUCER, producer.to_string()).header(FIRST_SEQUENCE, first);
    assert!(post.send().await.unwrap().status().is_success());
}

fn relato(recebidas: u64, confirmadas: u64, quarentena: u64, danificadas: u64) -> Relato {
    Relato { recebidas, confirmadas, quarentena, danificadas, ..Relato::default() }
}

async fn report(app: &App, producer: Uuid, relato: &Relato) -> Produtor {
    let response = app.client.put(app.url(&format!("/produtores/{producer}"))).json(relato).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let answered: Produtor = response.json().await.unwrap();
    assert_eq!(answered, one(app, producer).await, "the answer is what is read afterwards");
    answered
}

async fn one(app: &App, producer: Uuid) -> Produtor {
    app.get(&format!("/produtores/{producer}")).send().await.unwrap().json().await.unwrap()
}

async fn list(app: &App) -> Vec<Produtor> {
    app.get("/produtores").send().await.unwrap().json().await.unwrap()
}

/// What `/readyz` says of the producers: all of them, missing messages, and producers with a difference.
async fn ready(app: &App) -> [u64; 3] {
    let response = app.get("/readyz").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "a difference keeps no data from being taken");
    let body: Value = response.json().await.unwrap();
    ["total", "faltando", "com_diferenca"].map(|name| body["produtores"][name].as_u64().unwrap())
}

/// Every message is in one place, and what the ledger counts as stored are the rows that are there.
async fn balanced(app: &App) {
    let url = format!("sqlite:{}?mode=ro", database(app.dir.path()).display());
    let mut conn = SqliteConnection::connect(&url).await.unwrap();
    for ledger in list(app).await {
        let rows: i64 = sqlx::query_scalar(
            "select count(*) from dados where produtor_id = (select id from produtores where uuid = ?)",
        )
        .bind(ledger.produtor.to_string())
        .fetch_one(&mut conn)
        .await
        .unwrap();
        assert_eq!(ledger.armazenadas, rows as u64, "{ledger:?}");
        let found = ledger.armazenadas + ledger.quarentena + ledger.danificadas + ledger.esperando;
        assert_eq!((ledger.recebidas, ledger.faltando), (found, 0), "{ledger:?}");
    }
    conn.close().await.unwrap();
}

#[tokio::test]
async fn what_was_received_is_somewhere() {
    let app = spawn_app().await;
    assert_eq!((list(&app).await, ready(&app).await), (vec![], [0, 0, 0]));
    store(&app, A, 1, 10).await;
    // Rows that no producer sent are in nobody's ledger.
    app.post(FORM, "valor=1").send().await.unwrap();
    balanced(&app).await;
    let ledger = report(&app, A, &Relato { nome: Some("sala".to_owned()), ..relato(25, 10, 0, 0) }).await;
    assert_eq!((ledger.recebidas, ledger.armazenadas, ledger.esperando), (25, 10, 15));
    assert!(ledger.primeira_vez.unwrap() <= ledger.visto_em.unwrap());
    balanced(&app).await;
    // 11 went into quarantine and 12 came back damaged; 8 to 10 are sent once more.
    store(&app, A, 8, 10).await;
    report(&app, A, &relato(25, 12, 0, 0)).await;
    store(&app, A, 13, 20).await;
    assert_eq!(one(&app, A).await.faltando, 2, "no report has told yet what became of them");
    assert_eq!(ready(&app).await, [1, 2, 1]);
    let ledger = report(&app, A, &relato(25, 20, 1, 1)).await;
    assert_eq!((ledger.armazenadas, ledger.esperando, ledger.nome.as_deref()), (18, 5, Some("sala")));
    assert_eq!(ready(&app).await, [1, 0, 0]);
    balanced(&app).await;

    let app = spawn_with(app.stop().await, |_| {}).await;
    assert_eq!(one(&app, A).await, ledger);
    store(&app, A, 15, 25).await;
    store(&app, B, 1, 3).await;
    balanced(&app).await;
    let seen: Vec<(Uuid, u64)> = list(&app).await.iter().map(|ledger| (ledger.produtor, ledger.recebidas)).collect();
    assert_eq!(seen, [(B, 3), (A, 25)], "who was heard of last comes first");
    let first: Vec<Produtor> = app.get("/produtores?limite=1").send().await.unwrap().json().await.unwrap();
    assert_eq!(first.iter().map(|ledger| ledger.produtor).collect::<Vec<_>>(), [B]);
}

/// However many there are, each is on a page.
#[tokio::test]
async fn the_list_goes_on_with_its_link() {
    let app = spawn_app().await;
    let mut expected: Vec<Uuid> = (1..=7).map(Uuid::from_u128).collect();
    for producer in &expected {
        report(&app, *producer, &relato(1, 1, 0, 0)).await;
    }
    expected.reverse();
    for limit in [1, 2, 3, 7, 8] {
        let (mut seen, mut next) = (Vec::new(), Some(format!("/produtores?limite={limit}")));
        while let Some(path) = next {
            let response = app.get(&path).send().await.unwrap();
            let link = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
            next = link.map(|link| link.strip_prefix('<').unwrap().split_once('>').unwrap().0.to_owned());
            let page: Vec<Produtor> = response.json().await.unwrap();
            assert!((1..=limit).contains(&page.len()), "{path}: {}", page.len());
            seen.extend(page.into_iter().map(|ledger| ledger.produtor));
        }
        assert_eq!(seen, expected, "{limit} at a time");
    }
}

/// One client that makes up names pushes nobody off the list, and does not fill the database.
#[tokio::test]
async fn a_sender_makes_only_so_many_producers() {
    const MOST: usize = 1000;
    let app = spawn_app().await;
    report(&app, A, &relato(1, 1, 0, 0)).await;
    let mut putting = tokio::task::JoinSet::new();
    for number in 0..1100_u128 {
        let put = app.client.put(app.url(&format!("/produtores/{}", Uuid::from_u128(1000 + number))));
        let put = put.json(&relato(1, 1, 0, 0));
        putting.spawn(async move { put.send().await.unwrap().status().as_u16() });
        if putting.len() > 32 {
            putting.join_next().await;
        }
    }
    while putting.join_next().await.is_some() {}
    assert_eq!(list(&app).await.len(), MOST);
    let put = app.client.put(app.url(&format!("/produtores/{B}"))).json(&relato(1, 1, 0, 0));
    let problem = problem(put.send().await.unwrap()).await;
    assert_eq!((problem.status, problem.field.as_deref()), (403, Some(PRODUCER)), "{problem:?}");
    report(&app, A, &relato(2, 2, 0, 0)).await;
}

#[tokio::test]
async fn a_producer_may_report_before_it_sends() {
    let app = spawn_app().await;
    let ledger = report(&app, A, &relato(7, 0, 0, 0)).await;
    assert_eq!((ledger.recebidas, ledger.esperando, ledger.ultima_sequencia, ledger.nome), (7, 7, 0, None));
    let before = ledger.primeira_vez;
    store(&app, A, 1, 7).await;
    balanced(&app).await;
    assert_eq!(one(&app, A).await.primeira_vez, before);
}

#[tokio::test]
async fn a_database_put_back_from_an_older_copy_misses_what_came_after() {
    let app = spawn_app().await;
    store(&app, A, 1, 10).await;
    store(&app, B, 1, 4).await;
    report(&app, A, &relato(10, 10, 0, 0)).await;
    let dir = app.stop().await;
    let copy = dir.path().join("copy.db");
    std::fs::copy(database(dir.path()), &copy).unwrap();

    let app = spawn_with(dir, |_| {}).await;
    store(&app, A, 11, 30).await;
    report(&app, A, &relato(32, 30, 0, 0)).await;
    assert_eq!(ready(&app).await, [2, 0, 0]);
    let dir = app.stop().await;
    std::fs::rename(&copy, database(dir.path())).unwrap();

    let app = spawn_with(dir, |_| {}).await;
    assert_eq!(ready(&app).await, [2, 0, 0], "the copy alone comes out even");
    let ledger = report(&app, A, &relato(32, 30, 0, 0)).await;
    assert_eq!((ledger.armazenadas, ledger.esperando, ledger.faltando), (10, 2, 20));
    assert_eq!(ready(&app).await, [2, 20, 1]);
    store(&app, A, 31, 32).await;
    let ledger = one(&app, A).await;
    assert_eq!((ledger.armazenadas, ledger.esperando, ledger.faltando), (12, 0, 20));
    assert_eq!(ready(&app).await, [2, 20, 1]);
}

#[tokio::test]
async fn a_malformed_report_is_refused_and_changes_nothing() {
    let app = spawn_app().await;
    store(&app, A, 1, 3).await;
    let before = report(&app, A, &Relato { nome: Some("sala".to_owned()), ..relato(5, 3, 0, 0) }).await;
    let path = format!("/produtores/{A}");
    let sound = || json!({"recebidas": 9, "confirmadas": 9, "quarentena": 0, "danificadas": 0, "nome": "x"});
    let with = |name: &str, value: Value| {
        let mut body = sound();
        body[name] = value;
        body.to_string()
    };
    let huge = format!("{}{}", sound(), " ".repeat(16 << 10));
    for (path, media_type, body, status, field) in [
        (path.as_str(), JSON, String::new(), 400, None),
        (&path, JSON, "{\"recebidas\":".to_owned(), 400, None),
        (&path, JSON, "[9,9,0,0]".to_owned(), 422, None),
        (&path, JSON, with("sala", json!(1)), 422, Some("sala")),
        (&path, JSON, with("recebidas", json!(-1)), 422, Some("recebidas")),
        (&path, JSON, with("recebidas", json!(1u64 << 63)), 422, Some("recebidas")),
        (&path, JSON, with("recebidas", json!(8)), 422, Some("confirmadas")),
        (&path, JSON, with("quarentena", json!(null)), 422, Some("quarentena")),
        (&path, JSON, with("danificadas", json!(0.5)), 422, Some("danificadas")),
        (&path, JSON, with("nome", json!("x".repeat(256))), 422, Some("nome")),
        (&path, JSON, with("nome", json!("a\u{7}")), 422, Some("nome")),
        (&path, JSON, "{\"recebidas\":9}".to_owned(), 422, Some("confirmadas")),
        (&path, JSON, huge, 413, None),
        (&path, NDJSON, sound().to_string(), 415, Some("content-type")),
        (&path, FORM, "recebidas=9".to_owned(), 415, Some("content-type")),
        ("/produtores/eu", JSON, sound().to_string(), 400, Some("uuid")),
    ] {
        let put = app.client.put(app.url(path)).header("content-type", media_type).body(body.clone());
        let problem = problem(put.send().await.unwrap()).await;
        assert_eq!((problem.status, problem.field.as_deref()), (status, field), "{body}: {problem:?}");
        let is_placed = problem.line.is_some() && problem.column.is_some();
        assert_eq!(is_placed, matches!(status, 422) || status == 400 && field.is_none(), "{body}: {problem:?}");
    }
    assert_eq!(list(&app).await, [before]);
}

#[tokio::test]
async fn what_is_not_there_or_not_asked_for_well_is_a_problem() {
    let app = spawn_app().await;
    let unknown = format!("/produtores/{A}");
    for (path, status, field) in [
        (unknown.as_str(), 404, None),
        ("/produtores/1", 400, Some("uuid")),
        ("/produtores?limite=0", 400, Some("limite")),
        ("/produtores?limite=1001", 400, Some("limite")),
        ("/produtores?nome=sala", 400, Some("nome")),
    ] {
        let problem = problem(app.get(path).send().await.unwrap()).await;
        assert_eq!((problem.status, problem.field.as_deref()), (status, field), "{path}");
    }
    for (method, path, allow) in
        [(Method::POST, &unknown, "PUT,GET,HEAD"), (Method::PUT, &"/produtores".into(), "GET,HEAD")]
    {
        let response = app.client.request(method, app.url(path)).send().await.unwrap();
        assert_eq!(response.headers()["allow"], allow);
        assert_eq!(problem(response).await.status, 405);
    }
}

#[tokio::test]
async fn how_a_producer_is_shows_until_it_says_otherwise() {
    let app = spawn_app().await;
    let falha = Some("not authorized".to_owned());
    let estado = Estado { conectado: false, falha, spool_bytes: 5, spool_bytes_max: 9 };
    let said = report(&app, A, &Relato { estado: Some(estado.clone()), ..relato(5, 3, 0, 0) }).await;
    assert_eq!(said.estado.as_ref(), Some(&estado));
    assert_eq!(list(&app).await[0].estado, Some(estado));
    let said = report(&app, A, &relato(5, 3, 0, 0)).await;
    assert_eq!((said.estado, said.recebidas), (None, 5), "an older producer says nothing of it");
}

#[tokio::test]
async fn a_report_that_says_nothing_new_is_heard_and_answered_with_the_newest_ledger() {
    let app = spawn_app().await;
    let first = report(&app, A, &relato(5, 0, 0, 0)).await;
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    store(&app, A, 1, 2).await;
    let again = report(&app, A, &relato(5, 0, 0, 0)).await;
    assert!(again.visto_em > first.visto_em, "{:?} {:?}", again.visto_em, first.visto_em);
    assert_eq!((again.recebidas, again.armazenadas), (5, 2));
    assert_eq!(list(&app).await[0].visto_em, again.visto_em);
}
