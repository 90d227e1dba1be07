//! Which cards and dashboards are taken: the forms of MBQL 5 and of dashcards, by Metabase's published schemas.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Version, World};

type Checked = Result<(), String>;

const COLUMNS: u64 = 24;
/// Operators with how many arguments they take, and whether they aggregate.
const OPERATORS: &[(&str, std::ops::RangeInclusive<usize>, bool)] = &[
    ("field", 1..=1, false),
    ("expression", 1..=1, false),
    ("aggregation", 1..=1, false),
    ("concat", 2..=99, false),
    ("/", 1..=99, false),
    ("asc", 1..=1, false),
    ("desc", 1..=1, false),
    ("count", 0..=1, true),
    ("sum", 1..=1, true),
    ("avg", 1..=1, true),
];
const OPTIONS: &[&str] =
    &["lib/uuid", "lib/expression-name", "base-type", "effective-type", "name", "display-name", "temporal-unit"];

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

/// What a stage defines, for clauses to refer to.
struct Stage<'a> {
    table: u64,
    world: &'a World,
    expressions: BTreeSet<String>,
    aggregations: BTreeSet<String>,
}

pub(super) fn card(world: &World, card: &Value) -> Checked {
    if !["table", "line", "bar"].contains(&card["display"].as_str().unwrap_or_default()) {
        return Err("display: it would show nothing".to_owned());
    }
    let query = &card["dataset_query"];
    keys(query, &["lib/type", "database", "stages"], &[])?;
    if query["lib/type"] != "mbql/query" || !world.databases.contains_key(&query["database"].as_u64().unwrap_or(0)) {
        return Err("unknown kind of query, or unknown database".to_owned());
    }
    let [stage] = query["stages"].as_array().ok_or("stages")?.as_slice() else { return Err("stages".to_owned()) };
    let parts = ["expressions", "fields", "aggregation", "breakout", "order-by", "limit", "filters"];
    keys(stage, &["lib/type", "source-table"], &parts)?;
    let table = stage["source-table"].as_u64().ok_or("source-table: expected a number")?;
    if stage["lib/type"] != "mbql.stage/mbql" || !world.tables.iter().any(|known| known.id == table) {
        return Err(format!("source-table: {table} is unknown"));
    }
    let list = |name: &str| stage[name].as_array().cloned().unwrap_or_default();
    let option = |name: &str, option: &str| -> BTreeSet<String> {
        list(name).iter().filter_map(|clause| Some(clause[1][option].as_str()?.to_owned())).collect()
    };
    let expressions = option("expressions", "lib/expression-name");
    let context = Stage { table, world, aggregations: option("aggregation", "lib/uuid"), expressions };
    for name in ["expressions", "fields", "aggregation", "breakout", "order-by"] {
        for clause in list(name) {
            context.clause(&clause).map_err(|why| format!("{name}: {why}"))?;
            let operator = clause[0].as_str().unwrap_or_default();
            let fits = match name {
                "fields" => operator == "field",
                "aggregation" => aggregates(&clause),
                "breakout" => ["field", "expression"].contains(&operator),
                "order-by" => ["asc", "desc"].contains(&operator),
                _ => !clause[1]["lib/expression-name"].is_null(),
            };
            if !fits {
                return Err(format!("{name}: {clause} does not belong there"));
            }
        }
    }
    charted(card, &context.columns(&list("breakout"), &list("aggregation")))
}

impl Stage<'_> {
    fn clause(&self, clause: &Value) -> Checked {
        let Some([Value::String(operator), Value::Object(options), arguments @ ..]) =
            clause.as_array().map(Vec::as_slice)
        else {
            return Err(format!("{clause}: expected [operator, {{options}}, …]"));
        };
        if let Some(unknown) = options.keys().find(|name| !OPTIONS.contains(&name.as_str())) {
            return Err(format!("{unknown}: unknown option"));
        }
        let known = OPERATORS.iter().find(|(name, ..)| name == operator);
        let (_, arity, _) = known.ok_or_else(|| format!("{operator}: not a known MBQL clause"))?;
        if !arity.contains(&arguments.len()) {
            return Err(format!("{operator}: wrong number of arguments"));
        }
        match operator.as_str() {
            "field" => {
                let id = arguments[0].as_u64().ok_or("field: expected a number")?;
                let owner = self.world.field(id).map(|(table, _)| table.id);
                if owner != Some(self.table) {
                    return Err(format!("field {id} is not of table {}", self.table));
                }
            }
            "expression" if !self.expressions.contains(arguments[0].as_str().unwrap_or_default()) => {
                return Err(format!("no expression named {}", arguments[0]));
            }
            "aggregation" if !self.aggregations.contains(arguments[0].as_str().unwrap_or_default()) => {
                return Err(format!("no aggregation {}", arguments[0]));
            }
            "expression" | "aggregation" => {}
            _ => {
                for argument in arguments.iter().filter(|argument| argument.is_array() || argument.is_object()) {
                    self.clause(argument)?;
                }
            }
        }
        Ok(())
    }

    /// The columns of the answer.
    fn columns(&self, breakout: &[Value], aggregation: &[Value]) -> BTreeSet<String> {
        let broken_out = breakout.iter().map(|clause| match clause[2].as_u64() {
            Some(id) => self.world.field(id).unwrap().1.name.to_owned(),
            None => clause[2].as_str().unwrap().to_owned(),
        });
        let name = |clause: &Value| clause[1]["name"].as_str().or(clause[0].as_str()).unwrap().to_owned();
        broken_out.chain(aggregation.iter().map(name)).collect()
    }
}

fn aggregates(clause: &Value) -> bool {
    let Some([operator, _, arguments @ ..]) = clause.as_array().map(Vec::as_slice) else { return false };
    OPERATORS.iter().any(|(name, _, aggregates)| operator == name && *aggregates) || arguments.iter().any(aggregates)
}

/// A chart names columns of the answer; a table needs nothing.
fn charted(card: &Value, columns: &BTreeSet<String>) -> Checked {
    let settings = &card["visualization_settings"];
    let known = ["graph.dimensions", "graph.metrics", "graph.x_axis.scale", "graph.y_axis.unpin_from_zero"];
    keys(settings, &[], &known)?;
    for name in ["graph.dimensions", "graph.metrics"] {
        let named: Vec<_> = settings[name].as_array().into_iter().flatten().collect();
        if card["display"] != "table" && (named.is_empty() || named.len() > 2) {
            return Err(format!("{name}: expected one or two columns"));
        }
        if let Some(other) = named.iter().find(|one| !columns.contains(one.as_str().unwrap_or_default())) {
            return Err(format!("{name}: {other} is no column of the answer"));
        }
    }
    Ok(())
}

/// Adds what Metabase adds: an identity to every clause, a type to every field, and empty parts.
pub(super) fn normalize(query: &mut Value) {
    fn walk(value: &mut Value, next: &mut u32) {
        match value {
            Value::Array(items) => {
                if let [Value::String(operator), Value::Object(options), ..] = items.as_mut_slice() {
                    *next += 1;
                    options.entry("lib/uuid").or_insert(json!(format!("00000000-0000-4000-8000-{next:012}")));
                    if operator == "field" {
                        options.insert("base-type".to_owned(), json!("type/Text"));
                        options.insert("effective-type".to_owned(), json!("type/Text"));
                    }
                }
                items.iter_mut().for_each(|item| walk(item, next));
            }
            Value::Object(fields) => fields.values_mut().for_each(|value| walk(value, next)),
            _ => {}
        }
    }
    walk(&mut query["stages"], &mut 0);
    query["parameters"] = json!([]);
}

pub(super) fn dashboard(world: &World, stored: &Value, body: &Value) -> Checked {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for parameter in list(&body["parameters"]) {
        keys(&parameter, &["id", "name", "slug", "type"], &["sectionId", "default"])?;
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
        let id = mapping["target"][1][1].as_u64().ok_or("target: expected a field's number")?;
        if mapping["target"] != json!(["dimension", ["field", id, null]]) {
            return Err(format!("{}: expected [dimension, [field, id, null]]", mapping["target"]));
        }
        let table = world.field(id).map(|(table, _)| json!(table.id));
        if table.as_ref() != Some(&known["dataset_query"]["stages"][0]["source-table"]) {
            return Err(format!("field {id} is not of the card's table"));
        }
    }
    Ok(())
}
