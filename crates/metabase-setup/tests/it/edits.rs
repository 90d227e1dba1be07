//! What people change in Metabase stays as they like it.

use serde_json::{Value, json};

use crate::metabase::{Entry, Metabase, Version};
use crate::provision;

/// The number of one of our cards, by its key.
fn card(metabase: &Metabase, key: &str) -> u64 {
    let world = metabase.world();
    let ours = |card: &&Value| card["description"].as_str().unwrap_or_default().contains(&format!("[ponte {key} "));
    world.cards.values().find(ours).unwrap()["id"].as_u64().unwrap()
}

fn dashboard(metabase: &Metabase) -> u64 {
    *metabase.world().dashboards.keys().next().unwrap()
}

/// Runs once more; nothing may be written, but for what the closure allows.
async fn untouched(metabase: &Metabase) -> Vec<String> {
    let before = metabase.world().shown();
    metabase.take_writes();
    let report = provision(metabase).await;
    let writes = metabase.take_writes();
    assert!(writes.is_empty(), "{writes:?}");
    assert_eq!(metabase.world().shown(), before);
    report.left
}

#[tokio::test]
async fn an_edited_card_is_left_alone_and_told() {
    type Edit = fn(&mut Value);
    let edits: [Edit; 5] = [
        |card| card["name"] = json!("Meu gráfico"),
        |card| card["display"] = json!("area"),
        |card| card["dataset_query"]["stages"][0]["limit"] = json!(7),
        |card| card["visualization_settings"]["graph.show_values"] = json!(true),
        |card| card["description"] = json!(format!("Meu texto. {}", card["description"].as_str().unwrap())),
    ];
    for (place, edit) in edits.into_iter().enumerate() {
        let metabase = Metabase::start().await;
        provision(&metabase).await;
        let id = card(&metabase, "minutos");
        edit(metabase.world().cards.get_mut(&id).unwrap());
        let left = untouched(&metabase).await;
        assert!(matches!(left.as_slice(), [one] if one.contains("edited")), "{place}: {left:?}");
    }
}

#[tokio::test]
async fn cards_that_were_moved_or_deleted_do_not_come_back() {
    let metabase = Metabase::start().await;
    provision(&metabase).await;
    let (moved, deleted) = (card(&metabase, "horas"), card(&metabase, "dados"));
    metabase.world().cards.get_mut(&moved).unwrap()["collection_id"] = json!(90);
    metabase.world().cards.get_mut(&deleted).unwrap()["archived"] = json!(true);
    assert_eq!(untouched(&metabase).await.len(), 2);
}

#[tokio::test]
async fn a_renamed_and_moved_dashboard_is_still_ours() {
    let metabase = Metabase::start().await;
    provision(&metabase).await;
    let id = dashboard(&metabase);
    {
        let mut world = metabase.world();
        let dashboard = world.dashboards.get_mut(&id).unwrap();
        dashboard["name"] = json!("Fábrica");
        dashboard["collection_id"] = json!(90);
        let collection = world.collections.values_mut().next().unwrap();
        collection["name"] = json!("Produção");
    }
    assert!(untouched(&metabase).await.is_empty());
}

#[tokio::test]
async fn a_deleted_dashboard_stays_in_the_trash() {
    let metabase = Metabase::start().await;
    provision(&metabase).await;
    let id = dashboard(&metabase);
    metabase.world().dashboards.get_mut(&id).unwrap()["archived"] = json!(true);
    let left = untouched(&metabase).await;
    assert!(matches!(left.as_slice(), [one] if one.contains("trash")), "{left:?}");
}

#[tokio::test]
async fn cards_of_peoples_own_and_cards_taken_off_stay_so() {
    let metabase = Metabase::start().await;
    provision(&metabase).await;
    let id = dashboard(&metabase);
    {
        let mut world = metabase.world();
        let dashcards = world.dashboards.get_mut(&id).unwrap()["dashcards"].as_array_mut().unwrap();
        dashcards.pop();
        dashcards.push(json!({"id": 900, "card_id": null, "row": 40, "col": 3, "size_x": 4, "size_y": 2,
            "visualization_settings": {"text": "minha nota"}}));
        dashcards[0]["size_y"] = json!(6);
    }
    // Its `shown` looks up every dashcard's card.
    metabase.take_writes();
    assert!(provision(&metabase).await.left.is_empty());
    assert!(metabase.take_writes().is_empty());
}

#[tokio::test]
async fn a_card_that_is_new_to_a_dashboard_comes_below_all_that_is_there() {
    let metabase = Metabase::start().await;
    provision(&metabase).await;
    let id = dashboard(&metabase);
    let before = {
        let mut world = metabase.world();
        let dashboard = world.dashboards.get_mut(&id).unwrap();
        // As a version without the minutes' card would have left it, and then edited.
        let description = dashboard["description"].as_str().unwrap().replace(" minutos", "");
        dashboard["description"] = json!(description.replace("Leituras", "Minhas leituras"));
        dashboard["parameters"].as_array_mut().unwrap().retain(|parameter| parameter["id"] != "campo");
        dashboard["tabs"] =
            json!([{"id": 31, "name": "A", "position": 0, "dashboard_id": id}, {"id": 32, "name": "B"}]);
        let dashcards = dashboard["dashcards"].as_array_mut().unwrap();
        dashcards.remove(0);
        for dashcard in dashcards.iter_mut() {
            dashcard["dashboard_tab_id"] = json!(31);
            let mappings = dashcard["parameter_mappings"].as_array_mut().unwrap();
            mappings.retain(|mapping| mapping["parameter_id"] != "campo");
        }
        let last = dashcards.last_mut().unwrap();
        last["size_y"] = json!(last["size_y"].as_u64().unwrap() + 3);
        dashcards.push(json!({"id": 900, "card_id": null, "row": 50, "col": 3, "size_x": 4, "size_y": 2,
            "dashboard_tab_id": 32, "visualization_settings": {"text": "nota"}}));
        dashcards.clone()
    };
    metabase.take_writes();
    provision(&metabase).await;
    assert_eq!(metabase.take_writes().len(), 1);
    let world = metabase.world();
    let dashboard = &world.dashboards[&id];
    let dashcards = dashboard["dashcards"].as_array().unwrap();
    let [kept @ .., new] = dashcards.as_slice() else { panic!("none") };
    assert_eq!(kept.len(), before.len());
    for (kept, before) in kept.iter().zip(&before) {
        for name in ["id", "card_id", "row", "col", "size_x", "size_y", "dashboard_tab_id", "parameter_mappings"] {
            assert_eq!(kept[name], before[name], "{name}");
        }
    }
    assert_eq!((&new["row"], &new["col"], &new["dashboard_tab_id"]), (&json!(48), &json!(0), &json!(31)));
    assert_eq!(dashboard["tabs"].as_array().unwrap().len(), 2);
    assert!(dashboard["description"].as_str().unwrap().starts_with("Minhas leituras"));
    assert_eq!(dashboard["parameters"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_card_that_somebody_put_on_the_dashboard_already_is_not_put_there_twice() {
    let metabase = Metabase::start().await;
    provision(&metabase).await;
    let id = dashboard(&metabase);
    {
        let mut world = metabase.world();
        let dashboard = world.dashboards.get_mut(&id).unwrap();
        dashboard["description"] = json!(dashboard["description"].as_str().unwrap().replace(" produtores", ""));
    }
    provision(&metabase).await;
    let world = metabase.world();
    assert_eq!(world.dashboards[&id]["dashcards"].as_array().unwrap().len(), 7);
    assert!(world.dashboards[&id]["description"].as_str().unwrap().contains(" produtores]"));
}

/// Metabase answers them whole, and takes their numbers alone.
#[tokio::test]
async fn cards_that_somebody_has_put_into_a_chart_stay_there() {
    for version in Version::ALL {
        let metabase = Metabase::start_as(version).await;
        provision(&metabase).await;
        let (id, other) = (dashboard(&metabase), card(&metabase, "horas"));
        {
            let mut world = metabase.world();
            let series = json!([world.cards[&other]]);
            let dashboard = world.dashboards.get_mut(&id).unwrap();
            dashboard["dashcards"][0]["series"] = series;
            dashboard["description"] = json!(dashboard["description"].as_str().unwrap().replace(" produtores", ""));
        }
        metabase.take_writes();
        provision(&metabase).await;
        let writes = metabase.take_writes();
        let [Entry { body: Some(body), .. }] = writes.as_slice() else { panic!("{version:?}: {writes:?}") };
        assert_eq!(body["dashcards"][0]["series"], json!([{"id": other}]), "{version:?}");
    }
}

#[tokio::test]
async fn columns_tables_and_homepage_are_set_once() {
    let metabase = Metabase::start().await;
    provision(&metabase).await;
    {
        let mut world = metabase.world();
        for table in &mut world.tables {
            table.visibility = None;
            for field in &mut table.fields {
                field.values = "search".to_owned();
            }
        }
        world.settings.insert("custom-homepage".to_owned(), json!(false));
    }
    assert!(untouched(&metabase).await.is_empty());
}

#[tokio::test]
async fn things_of_the_same_name_without_our_mark_are_peoples_own() {
    let metabase = Metabase::start().await;
    {
        let mut world = metabase.world();
        world.administrator = Some((crate::EMAIL.to_owned(), crate::PASSWORD.to_owned()));
        world.settings.insert("custom-homepage".to_owned(), json!(true));
        world.settings.insert("custom-homepage-dashboard".to_owned(), json!(77));
        let database = json!({"id": 70, "name": "Casa", "engine": "sqlite", "details": {"db": "/data/dados.db"}});
        world.databases.insert(70, database);
        let other = json!({"id": 69, "name": "Outro", "engine": "sqlite", "details": {"db": "/data/outro.db"}});
        world.databases.insert(69, other);
        let collection = json!({"id": 71, "name": "Ponte", "description": "minha", "archived": false});
        world.collections.insert(71, collection);
    }
    let report = provision(&metabase).await;
    let world = metabase.world();
    assert_eq!((world.databases.len(), world.collections.len()), (2, 2));
    assert_eq!(world.collections[&71]["description"], "minha");
    assert_eq!(world.settings["custom-homepage-dashboard"], 77);
    assert!(!report.made.contains(&"dados".to_owned()));
    assert!(world.cards.values().all(|card| card["collection_id"] != 71 && card["dataset_query"]["database"] == 70));
}
