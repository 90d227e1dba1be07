//! A new Metabase, and a second run.

use std::fmt::Write as _;
use std::fs;

use metabase_setup::config::{Config, Locale};
use metabase_setup::run;
use serde_json::json;

use crate::metabase::{Entry, Metabase, Version};
use crate::{config, provision};

/// With this variable set, the transcripts are written instead of compared.
const WRITE: &str = "PONTE_WRITE_TRANSCRIPTS";

/// Everything that went over the wire, as text; the setup token is another one each time.
fn transcript(log: &[Entry], token: &str) -> String {
    let text = log.iter().fold(String::new(), |mut text, entry| {
        let _ = writeln!(text, "{} {} → {}", entry.method, entry.path, entry.status);
        if let Some(body) = &entry.body {
            let _ = writeln!(text, "{}", serde_json::to_string_pretty(body).unwrap());
        }
        text
    });
    text.replace(token, "(setup token)")
}

async fn compare(locale: Locale) {
    let metabase = Metabase::start().await;
    run(&Config { locale, ..config(&metabase) }).await.unwrap();
    let text = {
        let world = metabase.world();
        transcript(&world.log, &world.token)
    };
    let file = format!("{}/tests/it/transcripts/{}.txt", env!("CARGO_MANIFEST_DIR"), locale.as_str());
    if std::env::var_os(WRITE).is_some() {
        fs::write(&file, &text).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap();
    let differs = || text.lines().zip(expected.lines()).position(|(one, other)| one != other);
    assert!(text == expected, "{file} differs, first after line {:?}; {WRITE}=1 writes it anew", differs());
}

#[tokio::test]
async fn a_new_metabase_is_asked_for_all_this_in_portuguese() {
    compare(Locale::Portuguese).await;
}

#[tokio::test]
async fn a_new_metabase_is_asked_for_all_this_in_english() {
    compare(Locale::English).await;
}

#[tokio::test]
async fn a_new_metabase_has_everything_after_one_run() {
    let metabase = Metabase::start().await;
    let report = provision(&metabase).await;
    let world = metabase.world();
    assert_eq!(
        (world.databases.len(), world.collections.len(), world.cards.len(), world.dashboards.len()),
        (1, 1, 7, 1)
    );
    let dashboard = world.dashboards.values().next().unwrap();
    assert_eq!(dashboard["dashcards"].as_array().unwrap().len(), 7);
    assert_eq!(dashboard["parameters"].as_array().unwrap().len(), 4);
    assert_eq!(world.settings["custom-homepage-dashboard"], dashboard["id"]);
    let hidden = world.tables.iter().filter(|table| table.visibility.as_deref() == Some("technical"));
    assert_eq!(hidden.count(), 6);
    assert_eq!((report.made.len(), report.left.len()), (1 + 1 + 7 + 1, 0));
    let url = report.url(&config(&metabase)).unwrap();
    assert_eq!(url.as_str(), format!("http://127.0.0.1:3000/dashboard/{}#refresh=60", dashboard["id"]));
}

#[tokio::test]
async fn both_versions_are_given_the_same() {
    let mut shown = Vec::new();
    for version in Version::ALL {
        let metabase = Metabase::start_as(version).await;
        provision(&metabase).await;
        shown.push(metabase.world().shown());
        metabase.take_writes();
        let report = provision(&metabase).await;
        let writes = metabase.take_writes();
        assert!(writes.is_empty() && report.left.is_empty(), "{version:?}: {writes:?} {report:?}");
    }
    assert_eq!(shown[0], shown[1]);
}

/// Metabase collects the values of a list by reading the whole table, once a day.
#[tokio::test]
async fn only_tables_with_a_row_for_each_topic_or_field_have_lists_of_values() {
    let metabase = Metabase::start().await;
    provision(&metabase).await;
    let world = metabase.world();
    let mut lists = Vec::new();
    for table in world.tables.iter().filter(|table| table.visibility.is_none()) {
        for field in &table.fields {
            // Its own choice may become a list by itself.
            assert_ne!(field.values, "auto-list", "{}.{}", table.name, field.name);
            if field.values == "list" {
                lists.push(format!("{}.{}", table.name, field.name));
            }
        }
    }
    assert_eq!(lists, ["campos.topico", "campos.campo", "topicos.topico"]);
}

#[tokio::test]
async fn a_table_that_somebody_has_hidden_is_found() {
    let metabase = Metabase::start().await;
    for table in &mut metabase.world().tables {
        table.visibility = Some("hidden".to_owned());
    }
    provision(&metabase).await;
    let world = metabase.world();
    assert!(world.tables.iter().all(|table| table.visibility.as_deref() == Some("hidden")));
}

#[tokio::test]
async fn filters_are_wired_to_the_columns_that_they_are_about() {
    let metabase = Metabase::start().await;
    provision(&metabase).await;
    let world = metabase.world();
    let mut wired = Vec::new();
    for dashcard in world.dashboards.values().next().unwrap()["dashcards"].as_array().unwrap() {
        for mapping in dashcard["parameter_mappings"].as_array().unwrap() {
            let (table, field) = world.field(mapping["target"][1][1].as_u64().unwrap()).unwrap();
            wired.push(format!("{} {}.{}", mapping["parameter_id"].as_str().unwrap(), table.name, field.name));
        }
    }
    assert_eq!(
        wired,
        [
            "periodo leituras_minuto.minuto",
            "topico campos.topico",
            "campo campos.campo",
            "periodo_horas leituras_hora.hora",
            "topico campos.topico",
            "campo campos.campo",
            "topico topicos.topico",
            "topico topicos.topico",
            "topico campos.topico",
            "campo campos.campo",
            "periodo dados.timestamp",
            "topico dados.topico",
        ]
    );
}

/// Values that Metabase collects from a table are up to a day old; those of a card are asked for.
#[tokio::test]
async fn filters_offer_the_values_of_a_card() {
    let metabase = Metabase::start().await;
    provision(&metabase).await;
    let world = metabase.world();
    let mut sources = Vec::new();
    for parameter in world.dashboards.values().next().unwrap()["parameters"].as_array().unwrap() {
        let config = &parameter["values_source_config"];
        let Some(card) = config["card_id"].as_u64() else { continue };
        let table = world.cards[&card]["dataset_query"]["stages"][0]["source-table"].as_u64().unwrap();
        let table = world.tables.iter().find(|known| known.id == table).unwrap().name;
        let (id, column) = (parameter["id"].as_str().unwrap(), config["value_field"][1].as_str().unwrap());
        sources.push(format!("{id} {table}.{column}"));
    }
    assert_eq!(sources, ["topico topicos.topico", "campo campos.campo"]);
}

/// Metabase shows an error instead of a chart with more. Filters choose before the limit, so that all can be seen.
#[tokio::test]
async fn a_chart_has_at_most_a_hundred_series_whatever_is_chosen() {
    let metabase = Metabase::start().await;
    provision(&metabase).await;
    let world = metabase.world();
    let lines: Vec<_> = world.cards.values().filter(|card| card["display"] == "line").collect();
    assert_eq!(lines.len(), 2);
    let dashboard = world.dashboards.values().next().unwrap();
    for card in lines {
        let stages = card["dataset_query"]["stages"].as_array().unwrap();
        assert_eq!((stages.len(), &stages[0]["limit"], stages[0].get("breakout")), (2, &json!(100), None));
        let placed =
            dashboard["dashcards"].as_array().unwrap().iter().find(|one| one["card_id"] == card["id"]).unwrap();
        let mappings = placed["parameter_mappings"].as_array().unwrap();
        for choice in ["topico", "campo"] {
            let mapping = mappings.iter().find(|mapping| mapping["parameter_id"] == choice).unwrap();
            assert_eq!(mapping["target"][2], json!({"stage-number": 0}), "{choice}");
        }
        assert!(card["description"].as_str().unwrap().contains("100 séries"));
    }
}

#[tokio::test]
async fn a_second_run_writes_nothing() {
    let metabase = Metabase::start().await;
    provision(&metabase).await;
    assert!(!metabase.take_writes().is_empty());
    let report = provision(&metabase).await;
    let writes = metabase.take_writes();
    assert!(writes.is_empty(), "{writes:?}");
    assert!(report.made.is_empty() && report.updated.is_empty() && report.left.is_empty(), "{report:?}");
    assert!(report.dashboard.is_some());
}

#[tokio::test]
async fn another_language_renames_what_is_as_we_wrote_it() {
    let metabase = Metabase::start().await;
    provision(&metabase).await;
    let english = Config { locale: Locale::English, ..config(&metabase) };
    let report = run(&english).await.unwrap();
    assert_eq!((report.made.len(), report.updated.len(), report.left.len()), (0, 7, 0));
    assert!(metabase.world().cards.values().any(|card| card["name"] == "Readings by minute"));
    metabase.take_writes();
    run(&english).await.unwrap();
    assert!(metabase.take_writes().is_empty());
}
