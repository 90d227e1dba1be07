//! The four forms of `POST /dados`, and what is refused.

use dados::{Dado, Inseridos, Timestamp};

use crate::{FORM, JSON, NDJSON, problem, spawn_app};

#[tokio::test]
async fn one_object_is_stored_and_answered() {
    let app = spawn_app().await;
    let body =
        r#"{"valor":"23.5","topico":"casa/sala","timestamp":"2026-11-23 03:21:45","qos":1,"retido":false,"dup":true}"#;
    let response = app.post("application/json; charset=utf-8", body).send().await.unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["location"], "/dados/1");
    let answered: Dado = response.json().await.unwrap();
    assert_eq!(answered.valor.as_deref(), Some("23.5"));
    assert_eq!(answered.topico.as_deref(), Some("casa/sala"));
    assert_eq!(answered.timestamp.as_deref(), Some("2026-11-23T03:21:45.000Z"));
    assert_eq!((answered.qos, answered.retido, answered.dup), (Some(1), Some(false), Some(true)));
    let read: Dado = app.get("/dados/1").send().await.unwrap().json().await.unwrap();
    assert_eq!(read, answered);
}

#[tokio::test]
async fn several_objects_get_consecutive_ids() {
    let app = spawn_app().await;
    let stored = |primeiro_id, n: i64| Inseridos {
        inseridos: n as u64,
        duplicados: 0,
        primeiro_id: Some(primeiro_id),
        ultimo_id: Some(primeiro_id + n - 1),
    };
    let array = format!("[{}{{\"valor\":[1, 2]}}]", "{\"valor\":1},".repeat(699));
    let response = app.post("application/senml+json", array).send().await.unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(response.json::<Inseridos>().await.unwrap(), stored(1, 700));
    let lines = "{\"valor\":\"a\"}\r\n\n{\"valor\":null}";
    let response = app.post(NDJSON, lines).send().await.unwrap();
    assert_eq!(response.json::<Inseridos>().await.unwrap(), stored(701, 2));
    let response = app.post(NDJSON, "{\"valor\":\"only\"}\n").send().await.unwrap();
    assert_eq!(response.json::<Inseridos>().await.unwrap(), stored(703, 1));
    let response = app.post(JSON, "[{\"valor\":\"one\"}]").send().await.unwrap();
    assert_eq!(response.json::<Inseridos>().await.unwrap(), stored(704, 1));
    let valores: Vec<_> = app.rows().await.into_iter().take(6).map(|row| row.valor.unwrap()).collect();
    assert_eq!(valores, ["one", "only", "null", "a", "[1, 2]", "1"]);
}

#[tokio::test]
async fn a_form_is_one_object() {
    let app = spawn_app().await;
    let before = Timestamp::now();
    let response = app.post(FORM, "valor=23+%2B1%25&topico=casa%2Fsala").send().await.unwrap();
    assert_eq!(response.status(), 201);
    let row: Dado = response.json().await.unwrap();
    assert_eq!(row.valor.as_deref(), Some("23 +1%"));
    assert_eq!(row.topico.as_deref(), Some("casa/sala"));
    let timestamp: Timestamp = row.timestamp.unwrap().parse().unwrap();
    assert!(before <= timestamp && timestamp <= Timestamp::now());
}

#[tokio::test]
async fn a_refused_body_stores_nothing_and_says_where() {
    let app = spawn_app().await;
    app.post(JSON, r#"{"valor":"before"}"#).send().await.unwrap();
    for (media_type, body, status, item, field, place) in [
        (JSON, "", 400, None, None, Some((1, 1))),
        (JSON, r#"{"valor":}"#, 400, None, None, Some((1, 10))),
        (JSON, r#"[{"valor":1},"#, 400, None, None, Some((1, 13))),
        (JSON, "[]", 422, None, None, None),
        (JSON, "1", 422, None, None, Some((1, 1))),
        (JSON, r#"{"topico":"a"}"#, 422, None, Some("valor"), Some((1, 1))),
        (JSON, "[{\"valor\":1},\n {\"valor\":1,\"sensor\":2}]", 422, Some(1), Some("sensor"), Some((2, 22))),
        (JSON, r#"[{"valor":1},{"valor":2,"qos":3}]"#, 422, Some(1), Some("qos"), Some((1, 31))),
        (JSON, r#"{"valor":1,"topico":"a/#"}"#, 422, None, Some("topico"), Some((1, 21))),
        (JSON, r#"{"valor":1,"timestamp":"ontem"}"#, 422, None, Some("timestamp"), Some((1, 24))),
        (JSON, r#"{"valor":"não","formato":"base64"}"#, 422, None, Some("valor"), Some((1, 10))),
        (NDJSON, "\n\n", 422, None, None, None),
        (NDJSON, "{\"valor\":1}\n\n{\"valor\":}", 400, Some(1), None, Some((3, 10))),
        (NDJSON, "{\"valor\":1}\n{\"valor\":1} {}", 400, Some(1), None, Some((2, 13))),
        (NDJSON, "{\"valor\":1}\n[]", 422, Some(1), None, Some((2, 1))),
        (FORM, "topico=a", 422, None, Some("valor"), None),
        (FORM, "temperatura=1", 422, None, Some("temperatura"), None),
        (FORM, r#"{"valor":1}"#, 415, None, Some("content-type"), None),
        ("text/plain", "23.5", 415, None, Some("content-type"), None),
        ("application/json; charset=iso-8859-1", r#"{"valor":1}"#, 415, None, Some("content-type"), None),
    ] {
        let problem = problem(app.post(media_type, body).send().await.unwrap()).await;
        assert_eq!(problem.status, status, "{body}: {problem:?}");
        assert_eq!((problem.item, problem.field.as_deref()), (item, field), "{body}: {problem:?}");
        assert_eq!(problem.line.zip(problem.column), place, "{body}: {problem:?}");
    }
    let not_utf8 = problem(app.post(JSON, b"{\"valor\":\"\xff\"}".to_vec()).send().await.unwrap()).await;
    assert_eq!((not_utf8.status, not_utf8.column), (400, Some(11)));
    let no_type = problem(app.client.post(app.url("/dados")).body("valor=1").send().await.unwrap()).await;
    assert!(no_type.detail.unwrap().contains("application/x-ndjson"));
    assert_eq!(app.rows().await.len(), 1);
}

#[tokio::test]
async fn a_form_that_is_json_gets_the_remedy() {
    let app = spawn_app().await;
    let problem = problem(app.post(FORM, r#" [{"valor":1}]"#).send().await.unwrap()).await;
    assert!(problem.detail.unwrap().contains("-H 'content-type: application/json'"));
}

#[tokio::test]
async fn a_hundred_at_once_are_all_stored() {
    let app = spawn_app().await;
    let posts = (0..100).map(|n| app.post(FORM, format!("valor={n}")).send());
    let mut ids = Vec::new();
    for response in futures_util::future::join_all(posts).await {
        let response = response.unwrap();
        assert_eq!(response.status(), 201);
        ids.push(response.json::<Dado>().await.unwrap());
    }
    for answered in ids {
        let read: Dado = app.get(&format!("/dados/{}", answered.id)).send().await.unwrap().json().await.unwrap();
        assert_eq!(read, answered);
    }
    assert_eq!(app.rows().await.len(), 100);
}
