//! Which dashboards are taken: the forms of their filters and cards, by Metabase's published schemas.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Version, World, query};

pub(super) type Checked = Result<(), String>;

const COLUMNS: u64 = 24;
/// Exactly these fields, the required ones not null.
pub(super) fn keys(value: &Value, required: &[&str], optional: &[&str]) -> Checked {
    let fields = value.as_object().ok_or("expected an object")?;
    let missing = required.iter().find(|name| fields.get(**name).is_none_or(Value::is_null));
    let unknown = fields.keys().find(|name| !required.contains(&name.as_str()) && !optional.contains(&name.as_str()));
    match (missing, unknown) {
        (Some(name), _) => Err(format!("{name}: missing required key")),
        (_, Some(name)) => Err(format!("{name}: disallowed key")),
        _ => Ok(()),
    }
}

pub(super) fn dashboard(world: &World, stored: &Value, body: &Value) -> Checked {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for parameter in list(&body["parameters"]) {
        let source = ["values_query_type", "values_source_type", "values_source_config"];
        keys(&parameter, &["id", "name", "slug", "type"], &[&["sectionId", "default"], &source[..]].concat())?;
        if !parameter["values_source_type"].is_null() {
            values_source(world, &parameter)?;
        }
        if !["date/all-options", "string/="].contains(&parameter["type"].as_str().unwrap_or_default()) {
            return Err("parameters: unknown type".to_owned());
        }
    }
    let parameters = list(body.get("parameters").unwrap_or(&stored["parameters"]));
    let ids = |values: &[Value]| values.iter().map(|value| value["id"].to_string()).collect::<BTreeSet<_>>();
    let (dashcards, tabs) = (list(&body["dashcards"]), list(&body["tabs"]));
    let kept = list(&stored["dashcards"]);
    let (before, after) = (ids(&kept), ids(&dashcards));
    if after.len() != dashcards.len() || after.iter().any(|id| !id.starts_with('-') && !before.contains(id)) {
        return Err("ids: twice, or of no dashcard here".to_owned());
    }
    let mut taken = BTreeMap::new();
    for dashcard in &dashcards {
        let required = ["id", "card_id", "row", "col", "size_x", "size_y"];
        let optional = [
            "dashboard_tab_id",
            "parameter_mappings",
            "visualization_settings",
            "series",
            "inline_parameters",
            "action_id",
        ];
        // `card_id` is null for text, but must be said.
        let mut said = dashcard.clone();
        if let Some(card) = said.get_mut("card_id") {
            *card = json!(1);
        }
        if world.version == Version::V0_58 {
            // It overlooks what it does not know.
            let known = |name: &str| required.contains(&name) || optional.contains(&name);
            said.as_object_mut().ok_or("expected an object")?.retain(|name, _| known(name));
        }
        keys(&said, &required, &optional)?;
        for card in list(&dashcard["series"]) {
            if world.version != Version::V0_58 {
                keys(&card, &["id"], &[]).map_err(|why| format!("series: {why}"))?;
            }
            if !world.cards.contains_key(&card["id"].as_u64().unwrap_or(0)) {
                return Err(format!("series: card {} is unknown", card["id"]));
            }
        }
        let tab = &dashcard["dashboard_tab_id"];
        if !tabs.is_empty() && !ids(&tabs).contains(&tab.to_string()) {
            return Err("This dashboard has tab, makes sure every card has a tab".to_owned());
        }
        let number = |name: &str| dashcard[name].as_u64().ok_or(format!("{name}: expected a number"));
        let (row, col, width, height) = (number("row")?, number("col")?, number("size_x")?, number("size_y")?);
        if width == 0 || height == 0 || col + width > COLUMNS {
            return Err("the grid has 24 columns".to_owned());
        }
        for cell in (0..height).flat_map(|y| (0..width).map(move |x| (row + y, col + x))) {
            if taken.insert((tab.to_string(), cell), ()).is_some() {
                return Err(format!("{} lies on another", dashcard["id"]));
            }
        }
        if let Some(card) = dashcard["card_id"].as_u64() {
            mappings(world, dashcard, card, &ids(&parameters))?;
        }
    }
    Ok(())
}

fn mappings(world: &World, dashcard: &Value, card: u64, parameters: &BTreeSet<String>) -> Checked {
    let known = world.cards.get(&card).ok_or(format!("card {card} is unknown"))?;
    for mapping in dashcard["parameter_mappings"].as_array().into_iter().flatten() {
        keys(mapping, &["parameter_id", "card_id", "target"], &[])?;
        if !parameters.contains(&mapping["parameter_id"].to_string()) || mapping["card_id"] != card {
            return Err(format!("{mapping}: unknown filter, or another card"));
        }
        // The older form of a field, and no template tag: filters of SQL are wrong below a day.
        let target = &mapping["target"];
        let (id, alias) = (&target[1][1], &target[1][2]["join-alias"]);
        let options = if alias.is_null() { Value::Null } else { json!({"join-alias": alias}) };
        let (form, stage) = match target[2]["stage-number"].as_u64() {
            None => (json!(["dimension", ["field", id, options]]), None),
            Some(stage) => (json!(["dimension", ["field", id, options], {"stage-number": stage}]), Some(stage)),
        };
        if *target != form || !id.is_u64() {
            return Err(format!("{target}: expected [dimension, [field, id, options], stage]"));
        }
        query::filterable(world, &known["dataset_query"], stage, id, alias)?;
    }
    Ok(())
}

/// A list of somebody's own; or a card, and a column of its answer.
fn values_source(world: &World, parameter: &Value) -> Checked {
    let config = &parameter["values_source_config"];
    match parameter["values_source_type"].as_str() {
        Some("static-list") => return keys(config, &["values"], &[]),
        Some("card") if parameter["values_query_type"] == "list" => {}
        _ => return Err("values_source_type: expected a list of one's own or from a card".to_owned()),
    }
    keys(config, &["card_id", "value_field"], &["label_field", "values"])?;
    let card = world.cards.get(&config["card_id"].as_u64().unwrap_or(0)).ok_or("card_id: unknown card")?;
    let name = config["value_field"][1].as_str().ok_or("value_field: expected a column's name")?;
    if config["value_field"] != json!(["field", name, {"base-type": "type/Text"}]) {
        return Err("value_field: expected [field, name, options]".to_owned());
    }
    if !query::columns(world, &card["dataset_query"]).contains(name) {
        return Err(format!("value_field: {name} is no column of the card"));
    }
    Ok(())
}
