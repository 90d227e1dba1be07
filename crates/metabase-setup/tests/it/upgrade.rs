//! What an earlier version wrote becomes what this one writes; what people have changed since stays.

use metabase_setup::config::{Config, Waits};
use metabase_setup::run;
use serde_json::{Value, json};

use crate::metabase::{Failure, Metabase, Version, World};
use crate::strict::request;
use crate::{config, provision};

/// All that version 1 of the rules asked a new Metabase for.
const BEFORE: &str = include_str!("transcripts/before.pt_BR.txt");

/// The writes of a transcript: method, path and body.
fn writes(transcript: &str) -> Vec<(&str, &str, Value)> {
    let mut writes: Vec<(&str, &str, String)> = Vec::new();
    for line in transcript.lines() {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            [method @ ("GET" | "POST" | "PUT" | "DELETE"), path, "→", _] => {
                writes.push((method, path, String::new()))
            }
            _ => writes.last_mut().unwrap().2 += line,
        }
    }
    writes.retain(|(method, path, _)| *method != "GET" && *path != "/api/session");
    let parse = |body: String| if body.is_empty() { Value::Null } else { serde_json::from_str(&body).unwrap() };
    writes.into_iter().map(|(method, path, body)| (method, path, parse(body))).collect()
}

/// A Metabase as the earlier version left it.
async fn before(version: Version) -> Metabase {
    let metabase = Metabase::start_as(version).await;
    {
        let mut world = metabase.world();
        (world.starting, world.initializing, world.looking) = (0, 0, 0);
    }
    let client = reqwest::Client::new();
    for (method, path, mut body) in writes(BEFORE) {
        if path == "/api/setup" {
            body["token"] = json!(metabase.world().token);
        }
        let status = request(&client, &metabase, true, method, path, &body).await;
        assert_eq!(status, 200, "{method} {path} {body}");
    }
    metabase.take_writes();
    metabase
}

/// What a card asks, which filters it follows, where filters have their values from, and what columns are.
fn state(world: &World) -> Value {
    let dashboard = world.dashboards.values().next().unwrap();
    let name = |id: &Value| world.cards[&id.as_u64().unwrap()]["name"].clone();
    let mut cards: Vec<_> = world.cards.values().collect();
    cards.sort_by_key(|card| card["name"].to_string());
    let cards: Vec<_> =
        cards.iter().map(|card| json!([card["name"], card["description"], card["dataset_query"]])).collect();
    let mut wired = Vec::new();
    for dashcard in dashboard["dashcards"].as_array().unwrap() {
        for mapping in dashcard["parameter_mappings"].as_array().unwrap() {
            wired.push(json!([name(&dashcard["card_id"]), mapping["parameter_id"], mapping["target"]]).to_string());
        }
    }
    wired.sort();
    let mut parameters = dashboard["parameters"].clone();
    for parameter in parameters.as_array_mut().unwrap() {
        let card = parameter["values_source_config"]["card_id"].clone();
        parameter["values_source_config"] = if card.is_null() { Value::Null } else { name(&card) };
    }
    json!([cards, wired, parameters, world.shown()["tables"]])
}

async fn fresh() -> Value {
    let metabase = Metabase::start().await;
    provision(&metabase).await;
    state(&metabase.world())
}

#[tokio::test]
async fn all_of_it_becomes_what_this_version_writes() {
    let expected = fresh().await;
    for version in Version::ALL {
        let metabase = before(version).await;
        assert_ne!(state(&metabase.world()), expected);
        let report = provision(&metabase).await;
        assert_eq!(state(&metabase.world()), expected, "{version:?}");
        assert_eq!((report.made.len(), report.left.len()), (1, 0), "{version:?}: {report:?}");
        metabase.take_writes();
        provision(&metabase).await;
        let writes = metabase.take_writes();
        assert!(writes.is_empty(), "{version:?}: {writes:?}");
    }
}

#[tokio::test]
async fn an_upgrade_that_ends_at_any_request_is_completed_by_the_next_run() {
    let expected = fresh().await;
    let metabase = before(Version::V0_64).await;
    provision(&metabase).await;
    let requests = metabase.world().log.len();
    for failure in [Failure::Before, Failure::After] {
        for at in 1..=requests {
            let metabase = before(Version::V0_64).await;
            metabase.world().failure = Some((at, failure));
            let once = config(&metabase);
            let once = Config { waits: Waits { attempts_max: 1, ..once.waits }, ..once };
            let _ = run(&once).await;
            metabase.world().failure = None;
            provision(&metabase).await;
            assert_eq!(state(&metabase.world()), expected, "{failure:?} {at}");
        }
    }
}

#[tokio::test]
async fn what_people_have_changed_since_stays() {
    let metabase = before(Version::V0_64).await;
    let (hours, wired) = {
        let mut world = metabase.world();
        let hours = world.cards.values_mut().find(|card| card["name"] == "Leituras por hora").unwrap();
        hours["dataset_query"]["stages"][0]["limit"] = json!(500);
        let hours = hours.clone();
        let dashboard = world.dashboards.values_mut().next().unwrap();
        let parameters = dashboard["parameters"].as_array_mut().unwrap();
        parameters.retain(|parameter| parameter["id"] != "campo");
        let topic = parameters.iter_mut().find(|parameter| parameter["id"] == "topico").unwrap();
        topic["values_source_type"] = json!("static-list");
        topic["values_source_config"] = json!({"values": ["casa/sala"]});
        let mut wired = Value::Null;
        for dashcard in dashboard["dashcards"].as_array_mut().unwrap() {
            let mappings = dashcard["parameter_mappings"].as_array_mut().unwrap();
            mappings.retain(|mapping| mapping["parameter_id"] != "campo");
            if dashcard["card_id"] == hours["id"] {
                wired = dashcard["parameter_mappings"].clone();
            }
        }
        for table in &mut world.tables {
            table.visibility = if table.name == "produtores" { Some("hidden".to_owned()) } else { None };
            for field in table.fields.iter_mut().filter(|_| table.name == "dados") {
                (field.values, field.semantic) = ("search".to_owned(), None);
            }
        }
        (hours, wired)
    };
    let report = provision(&metabase).await;
    assert!(matches!(report.left.as_slice(), [one] if one.contains("edited")), "{:?}", report.left);
    let world = metabase.world();
    assert_eq!(world.cards[&hours["id"].as_u64().unwrap()], hours);
    let dashboard = world.dashboards.values().next().unwrap();
    let dashcards = dashboard["dashcards"].as_array().unwrap();
    let placed = dashcards.iter().find(|dashcard| dashcard["card_id"] == hours["id"]).unwrap();
    assert_eq!(placed["parameter_mappings"], wired, "an edited card has the columns that it had");
    let topic = dashboard["parameters"].as_array().unwrap().iter().find(|one| one["id"] == "topico").unwrap();
    assert_eq!(topic["values_source_config"], json!({"values": ["casa/sala"]}));
    assert_eq!(dashboard["parameters"].as_array().unwrap().len(), 3);
    for table in &world.tables {
        let visibility = match table.name {
            "produtores" => Some("hidden"),
            "dados_por_tempo" | "retencao" => Some("technical"),
            _ => None,
        };
        assert_eq!(table.visibility.as_deref(), visibility, "{}", table.name);
        if table.name == "dados" {
            assert!(table.fields.iter().all(|field| field.values == "search" && field.semantic.is_none()));
        }
    }
}
