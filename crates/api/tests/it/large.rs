//! Rows with values of megabytes: they come back byte for byte, and a page ends with one.

use dados::{Dado, Inseridos};
use reqwest::Response;
use sqlx::{Connection as _, SqliteConnection};

use crate::{App, JSON, NDJSON, database, spawn_app};

/// Larger than what is read with its row, and than a piece of it.
const LARGE_BYTES: usize = 3 << 20;

/// A text with what each form has to escape, and characters that pieces may cut.
fn large(number: usize) -> String {
    let unit = format!("{number}: \"ação\",\r\n\\ \u{1} 😀; ");
    let mut text = unit.repeat(LARGE_BYTES / unit.len());
    text.push_str(&"x".repeat(number));
    text
}

fn object(valor: &str) -> String {
    serde_json::json!({"valor": valor, "topico": "câmera/\"valor\":\"\"", "qos": 1}).to_string()
}

/// Rows 1, 3 and 5 are small, 2 and 4 are large.
async fn spawn_rows() -> App {
    let app = spawn_app().await;
    for number in 1..=5_usize {
        let valor = if number.is_multiple_of(2) { large(number) } else { number.to_string() };
        let response = app.post(JSON, object(&valor)).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), response.headers()["location"].to_str().unwrap()),
            (201, &*format!("/dados/{number}"))
        );
        // Whatever its size, a row is answered with itself.
        let row: Dado = response.json().await.unwrap();
        assert_eq!((row.id, row.valor.as_deref(), row.qos), (number as i64, Some(&*valor), Some(1)));
    }
    app
}

fn assert_rows(rows: &[Dado], ids: &[i64]) {
    assert!(rows.iter().map(|row| row.id).eq(ids.iter().copied()), "{:?}", rows.iter().map(|row| row.id));
    for row in rows {
        let number = row.id as usize;
        let valor = if number.is_multiple_of(2) { large(number) } else { number.to_string() };
        assert!(row.valor.as_ref() == Some(&valor), "the value of row {number}");
        assert_eq!((row.topico.as_deref(), row.qos), (Some("câmera/\"valor\":\"\""), Some(1)));
    }
}

fn next(response: &Response) -> Option<String> {
    let link = response.headers().get("link")?.to_str().unwrap();
    Some(link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned())
}

#[tokio::test]
async fn a_row_of_any_size_comes_back_as_it_was_stored() {
    let app = spawn_rows().await;
    for id in 1..=5 {
        let row = app.get(&format!("/dados/{id}")).send().await.unwrap().json::<Dado>().await.unwrap();
        assert_rows(&[row], &[id]);
    }
    let head = app.client.head(app.url("/dados/2")).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.bytes().await.unwrap().len()), (200, 0));
}

#[tokio::test]
async fn a_page_ends_with_a_large_row_and_its_link_goes_on() {
    let app = spawn_rows().await;
    for (query, pages) in [
        ("ordem=asc", &[&[1, 2][..], &[3, 4], &[5]][..]),
        ("ordem=desc", &[&[5, 4], &[3, 2], &[1]]),
        ("ordem=asc&limite=1", &[&[1], &[2], &[3], &[4], &[5]]),
        ("limite=2", &[&[5, 4], &[3, 2], &[1]]),
        ("topico=c%C3%A2mera/%23&ordem=asc&desde=-1h", &[&[1, 2], &[3, 4], &[5]]),
    ] {
        let (mut path, mut found) = (Some(format!("/dados?{query}")), Vec::new());
        while let Some(page) = path {
            let response = app.get(&page).send().await.unwrap();
            path = next(&response);
            let rows: Vec<Dado> = response.json().await.unwrap();
            found.push(rows.iter().map(|row| row.id).collect::<Vec<_>>());
            assert_rows(&rows, found.last().unwrap());
        }
        assert_eq!(found, pages, "{query}");
    }
}

#[tokio::test]
async fn files_have_large_rows_whole() {
    let app = spawn_rows().await;
    let text = app.get("/dados?formato=ndjson&ordem=asc").send().await.unwrap().text().await.unwrap();
    let rows: Vec<Dado> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_rows(&rows, &[1, 2, 3, 4, 5]);
    let csv = app.get("/dados?formato=csv&ordem=desc&limite=4").send().await.unwrap().text().await.unwrap();
    for number in [2, 4] {
        assert!(csv.contains(&format!(",\"{}\",", large(number).replace('"', "\"\""))), "row {number}");
    }
    assert!(csv.lines().last().unwrap().len() > 20 && csv.contains("\n5,") && !csv.contains("\n1,"), "four rows");
}

#[tokio::test]
async fn a_repeated_large_row_is_answered_again() {
    let app = spawn_app().await;
    let valor = large(2);
    for replayed in [false, true] {
        let response = app.post(JSON, object(&valor)).header("idempotency-key", "k").send().await.unwrap();
        assert_eq!(response.headers().contains_key("idempotency-replayed"), replayed);
        let row: Dado = response.json().await.unwrap();
        assert!(row.id == 1 && row.valor.as_ref() == Some(&valor));
    }
}

#[tokio::test]
async fn a_large_row_that_changes_on_its_way_breaks_the_answer_off() {
    let app = spawn_rows().await;
    let mut response = app.get("/dados/4").send().await.unwrap();
    let first = response.chunk().await.unwrap().unwrap();
    let mut conn = SqliteConnection::connect(&format!("sqlite:{}", database(app.dir.path()).display())).await.unwrap();
    sqlx::query("delete from dados where id = 4").execute(&mut conn).await.unwrap();
    let mut bytes = first.len();
    // What was on its way is shorter than the value, or else all of it had been sent.
    let ended = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes += chunk.len(),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    assert!(!ended || bytes > LARGE_BYTES, "{bytes} bytes were taken for the whole");
}

#[tokio::test]
async fn values_of_other_programs_are_shown_whatever_they_are() {
    let app = spawn_app().await;
    // Once it answers, the database is there.
    assert_eq!(app.newest_id().await, 0);
    let mut conn = SqliteConnection::connect(&format!("sqlite:{}", database(app.dir.path()).display())).await.unwrap();
    // A character begins at the end of a piece, and never ends; bytes that are no UTF-8; a blob.
    sqlx::query(
        "insert into dados (valor) values (cast(zeroblob(1048575) || x'c3a9' as text)), (x'ff' || zeroblob(1500000)),
             (cast('é' || printf('%.*c', 1400000, 'x') || x'c3' as text))",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    for (id, valor) in [
        (1, format!("{}é", "\0".repeat(1_048_575))),
        (2, format!("\u{fffd}{}", "\0".repeat(1_500_000))),
        (3, format!("é{}\u{fffd}", "x".repeat(1_400_000))),
    ] {
        let row = app.get(&format!("/dados/{id}")).send().await.unwrap().json::<Dado>().await.unwrap();
        assert!(row.valor == Some(valor), "row {id}");
    }
}

/// Of a large value only the beginning is looked at: it is a text, whatever it is.
#[tokio::test]
async fn a_large_value_is_a_text_in_charts() {
    let app = spawn_app().await;
    let json = serde_json::json!({"a": 1, "b": "é".repeat(1 << 20)});
    let body = serde_json::json!({"valor": json, "topico": "t"}).to_string();
    assert_eq!(app.post(JSON, body).send().await.unwrap().status(), 201);
    let topic = loop {
        let topics: Vec<dados::Topico> = app.get("/topicos").send().await.unwrap().json().await.unwrap();
        if let Some(topic) = topics.into_iter().next() {
            break topic;
        }
        tokio::task::yield_now().await;
    };
    let head: String = json.to_string().chars().take(1024).collect();
    assert_eq!(topic.ultimo_valor.as_deref(), Some(&*head));
    let fields: Vec<_> = topic.campos.iter().map(|field| (&*field.campo, field.texto.as_deref())).collect();
    assert_eq!(fields, [("valor", Some(&*head))]);
}

/// What is escaped is six times as long: a page's bytes are those of its JSON.
#[tokio::test]
async fn a_page_counts_what_it_sends() {
    let app = spawn_app().await;
    let line = serde_json::json!({"valor": "\u{1}".repeat(100_000)}).to_string();
    let response = app.post(NDJSON, [&*line; 10].join("\n")).send().await.unwrap();
    assert_eq!(response.json::<Inseridos>().await.unwrap().inseridos, 10);
    let page = app.get("/dados").send().await.unwrap();
    assert!(next(&page).is_some());
    assert!((2 << 20..3 << 20).contains(&page.bytes().await.unwrap().len()));
}
