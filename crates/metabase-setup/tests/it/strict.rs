//! The stand-in itself: each of these bodies differs from a good one in a single thing, and must be refused.

use serde_json::{Value, json};

use crate::metabase::{Entry, Metabase};
use crate::{config, provision};

/// What breaks a good body.
type Break = fn(&mut Value);

fn remove(value: &mut Value, name: &str) {
    value.as_object_mut().unwrap().remove(name);
}

const CARD: &[Break] = &[
    |card| card["unknown"] = json!(1),
    |card| remove(card, "visualization_settings"),
    |card| card["display"] = json!("linechart"),
    |card| card["dataset_query"]["database"] = json!(99),
    |card| card["dataset_query"]["lib/type"] = json!("native"),
    |card| card["dataset_query"]["stages"][0]["source-table"] = json!(999),
    |card| card["dataset_query"]["stages"][0]["aggregations"] = json!([]),
    |card| card["dataset_query"]["stages"][0]["fields"][0] = json!(["field", {}, 1803]),
    |card| card["dataset_query"]["stages"][1]["source-table"] = json!(108),
    // The older form: options last.
    |card| card["dataset_query"]["stages"][1]["breakout"][0] = json!(["field", 1803, null]),
    |card| card["dataset_query"]["stages"][1]["breakout"][0][2] = json!(1703),
    |card| card["dataset_query"]["stages"][1]["breakout"][0][1] = json!({}),
    |card| card["dataset_query"]["stages"][1]["breakout"][1][2] = json!("nobody"),
    |card| card["dataset_query"]["stages"][1]["joins"][0]["alias"] = json!("outra"),
    |card| card["dataset_query"]["stages"][1]["joins"][0]["strategy"] = json!("cross-join"),
    |card| card["dataset_query"]["stages"][1]["joins"][0]["conditions"] = json!([]),
    |card| card["dataset_query"]["stages"][1]["expressions"][0][2][2] = json!("minuto"),
    |card| card["dataset_query"]["stages"][1]["expressions"][0][2][1] = json!({}),
    |card| card["dataset_query"]["stages"][1]["aggregation"][0][0] = json!("divide"),
    |card| card["dataset_query"]["stages"][1]["aggregation"][0][2] = json!(["sum", {}]),
    |card| card["dataset_query"]["stages"][1]["aggregation"][0] = json!(["expression", {}, "serie"]),
    |card| card["dataset_query"]["stages"][1]["order-by"][0] = json!(["desc", {}, ["aggregation", {}, "none"]]),
    |card| card["dataset_query"]["stages"][1]["order-by"][0] = json!(["expression", {}, "serie"]),
    |card| remove(&mut card["dataset_query"]["stages"][1]["joins"][0], "lib/options"),
    |card| remove(&mut card["dataset_query"]["stages"][1]["expressions"][0][1], "lib/expression-name"),
    |card| card["visualization_settings"]["graph.metrics"] = json!(["avg"]),
    |card| card["visualization_settings"]["graph.dimensions"] = json!(["minuto", "topico", "campo"]),
];

const DASHBOARD: &[Break] = &[
    |body| remove(&mut body["dashcards"][0], "size_x"),
    |body| remove(&mut body["dashcards"][0], "card_id"),
    |body| body["dashcards"][0]["id"] = json!(-2),
    |body| body["dashcards"][0]["id"] = json!(5),
    |body| body["dashcards"][0]["card_id"] = json!(999),
    |body| body["dashcards"][0]["col"] = json!(1),
    |body| body["dashcards"][1]["row"] = json!(7),
    |body| body["dashcards"][0]["parameter_mappings"][0]["parameter_id"] = json!("nobody"),
    |body| body["dashcards"][0]["parameter_mappings"][0]["target"][1] = json!(["template-tag", "periodo"]),
    |body| body["dashcards"][0]["parameter_mappings"][0]["target"][1] = json!(["field", {}, 1803]),
    |body| body["dashcards"][0]["parameter_mappings"][0]["target"][1][1] = json!(1703),
    |body| body["dashcards"][0]["parameter_mappings"][0]["target"][1][1] = json!(1),
    |body| body["dashcards"][0]["parameter_mappings"][0]["target"][1][2] = json!(null),
    |body| body["dashcards"][0]["parameter_mappings"][0]["target"][1][2] = json!({"join-alias": "outra"}),
    |body| body["dashcards"][0]["parameter_mappings"][0]["target"][2] = json!({"stage-number": 0}),
    |body| body["dashcards"][0]["parameter_mappings"][0]["target"][2] = json!({"stage-number": 2}),
    |body| body["dashcards"][0]["dashboard_id"] = json!(1),
    |body| body["dashcards"][0]["series"] = json!([{"id": 999}]),
    |body| body["dashcards"][0]["series"] = json!([{"id": 3, "name": "whole"}]),
    |body| body["parameters"][0]["type"] = json!("date/hour"),
    |body| body["parameters"][2]["values_source_type"] = json!("table"),
    |body| body["parameters"][2]["values_source_config"]["card_id"] = json!(999),
    |body| body["parameters"][2]["values_source_config"]["value_field"][1] = json!("valor"),
    |body| body["parameters"][2]["values_source_config"]["value_field"] = json!(["field", {}, "topico"]),
    |body| body["parameters"][0]["values-source"] = json!("list"),
    |body| body["tabs"] = json!([{"id": 1, "name": "a"}]),
];

const DATABASE: &[Break] = &[
    |body| body["details"]["db"] = json!("file:/data/dados.db?mode=ro"),
    |body| body["details"]["db"] = json!("/data/dados.db?immutable=1"),
    |body| body["details"]["dbname"] = json!("/data/dados.db"),
    |body| body["is_read_only"] = json!(true),
    |body| body["engine"] = json!("sqlite3"),
];

const FIELD: &[Break] = &[
    |body| body["has_field_values"] = json!("all"),
    |body| body["semantic_type"] = json!("Category"),
    |body| {
        body["visible"] = json!(true);
    },
];

async fn send(metabase: &Metabase, session: bool, method: &str, path: &str, body: &Value) -> u16 {
    request(&reqwest::Client::new(), metabase, session, method, path, body).await
}

/// The status of the answer to a request.
pub(crate) async fn request(
    client: &reqwest::Client,
    metabase: &Metabase,
    session: bool,
    method: &str,
    path: &str,
    body: &Value,
) -> u16 {
    let url = format!("http://{}{path}", metabase.addr);
    let mut request = client.request(method.parse().unwrap(), url).json(body);
    if session {
        request = request.header("x-metabase-session", "38f4c7a2-0000-4000-8000-0000000000aa");
    }
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn every_broken_body_is_refused() {
    let metabase = Metabase::start().await;
    config(&metabase);
    provision(&metabase).await;
    let writes = metabase.take_writes();
    // A dashboard of its own, so that the ids of new dashcards are free.
    let empty = json!({"name": "x", "collection_id": 2});
    assert_eq!(send(&metabase, true, "POST", "/api/dashboard", &empty).await, 200);
    let id = *metabase.world().dashboards.keys().next_back().unwrap();
    let path = format!("/api/dashboard/{id}");
    let sets: [(&str, &str, &str, &[Break]); 4] = [
        ("POST", "/api/database", "/api/database", DATABASE),
        ("PUT", "/api/field/1201", "/api/field/1201", FIELD),
        ("POST", "/api/card", "/api/card", CARD),
        ("PUT", "/api/dashboard/", &path, DASHBOARD),
    ];
    for (method, ours, path, breaks) in sets {
        let written = |entry: &&Entry| entry.method == method && entry.path.starts_with(ours);
        let body = &writes.iter().find(written).unwrap().body;
        let good = body.as_ref().unwrap();
        assert_eq!(send(&metabase, false, method, path, good).await, 401, "{path}");
        for (place, break_it) in breaks.iter().enumerate() {
            let mut bad = good.clone();
            break_it(&mut bad);
            assert_ne!(&bad, good, "{path} {place}");
            assert_eq!(send(&metabase, true, method, path, &bad).await, 400, "{path} {place}: {bad}");
        }
        assert_eq!(send(&metabase, true, method, path, good).await, 200, "{path}");
    }
    for path in ["/api/field/1", "/api/table/1", "/api/card/999", "/api/nothing"] {
        let body = json!({"visibility_type": "technical"});
        let status = send(&metabase, true, "PUT", path, &body).await;
        assert!((400..500).contains(&status), "{path}: {status}");
    }
}
