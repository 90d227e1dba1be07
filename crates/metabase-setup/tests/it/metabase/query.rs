//! Which cards are taken: the form of MBQL 5, by Metabase's published schemas.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::World;
use super::check::{Checked, keys};

/// Operators with how many arguments they take, and whether they aggregate.
const OPERATORS: &[(&str, std::ops::RangeInclusive<usize>, bool)] = &[
    ("field", 1..=1, false),
    ("expression", 1..=1, false),
    ("aggregation", 1..=1, false),
    ("concat", 2..=99, false),
    ("/", 1..=99, false),
    ("=", 2..=99, false),
    ("not-null", 1..=1, false),
    ("asc", 1..=1, false),
    ("desc", 1..=1, false),
    ("count", 0..=1, true),
    ("sum", 1..=1, true),
    ("avg", 1..=1, true),
];
const OPTIONS: &[&str] = &[
    "lib/uuid",
    "lib/expression-name",
    "base-type",
    "effective-type",
    "name",
    "display-name",
    "temporal-unit",
    "join-alias",
];

/// What a stage can refer to.
struct Stage<'a> {
    world: &'a World,
    /// The table that it reads, in the first stage.
    table: Option<u64>,
    /// The columns that the stage before gives.
    given: BTreeSet<String>,
    /// Tables by the aliases of joins.
    joins: BTreeMap<String, u64>,
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
    let stages = query["stages"].as_array().filter(|stages| !stages.is_empty()).ok_or("stages: expected some")?;
    for (number, stage) in stages.iter().enumerate() {
        let parts = ["joins", "expressions", "fields", "aggregation", "breakout", "order-by", "limit", "filters"];
        let required: &[&str] = if number == 0 { &["lib/type", "source-table"] } else { &["lib/type"] };
        keys(stage, required, &parts)?;
        if stage["lib/type"] != "mbql.stage/mbql" {
            return Err("stages: unknown kind".to_owned());
        }
        Stage::of(world, query, number)?.check(stage)?;
    }
    charted(card, &columns(world, query))
}

/// The columns of a query's answer.
pub(super) fn columns(world: &World, query: &Value) -> BTreeSet<String> {
    (0..query["stages"].as_array().map_or(0, Vec::len)).fold(BTreeSet::new(), |given, number| {
        let stage = &query["stages"][number];
        let named = |name: &str| list(stage, name).iter().map(|clause| column(world, clause)).collect::<BTreeSet<_>>();
        let summed: BTreeSet<_> = &named("breakout") | &named("aggregation");
        let chosen = named("fields");
        let table = world.tables.iter().find(|table| Some(table.id) == stage["source-table"].as_u64());
        match (summed.is_empty(), chosen.is_empty(), table) {
            (false, ..) => summed,
            (true, false, _) => chosen,
            (true, true, Some(table)) => table.fields.iter().map(|field| field.name.to_owned()).collect(),
            (true, true, None) => given,
        }
    })
}

/// Whether a filter finds this column in this stage, or the last.
pub(super) fn filterable(world: &World, query: &Value, stage: Option<u64>, id: &Value, alias: &Value) -> Checked {
    let last = query["stages"].as_array().map_or(0, Vec::len) - 1;
    let number = stage.map_or(last, |stage| usize::try_from(stage).unwrap_or(usize::MAX));
    if number > last {
        return Err(format!("stage-number: there is no stage {number}"));
    }
    let options = if alias.is_null() { json!({}) } else { json!({"join-alias": alias}) };
    Stage::of(world, query, number)?.clause(&json!(["field", options, id]))
}

fn list(stage: &Value, name: &str) -> Vec<Value> {
    stage[name].as_array().cloned().unwrap_or_default()
}

/// The name of the column that a clause makes.
fn column(world: &World, clause: &Value) -> String {
    let named = clause[1]["name"].as_str().or(clause[2].as_str()).map(str::to_owned);
    let field = || Some(world.field(clause[2].as_u64()?)?.1.name.to_owned());
    named.or_else(field).unwrap_or_else(|| clause[0].as_str().unwrap_or_default().to_owned())
}

impl<'a> Stage<'a> {
    fn of(world: &'a World, query: &Value, number: usize) -> Result<Self, String> {
        let stage = &query["stages"][number];
        let table = stage["source-table"].as_u64();
        if table.is_some_and(|table| !world.tables.iter().any(|known| known.id == table)) {
            return Err(format!("source-table: {table:?} is unknown"));
        }
        let before = json!({"stages": query["stages"].as_array().map_or(&[][..], |stages| &stages[..number])});
        let option = |name: &str, option: &str| -> BTreeSet<String> {
            list(stage, name).iter().filter_map(|clause| Some(clause[1][option].as_str()?.to_owned())).collect()
        };
        let mut joins = BTreeMap::new();
        for join in list(stage, "joins") {
            keys(&join, &["lib/type", "lib/options", "alias", "strategy", "stages", "conditions"], &[])?;
            let table = join["stages"][0]["source-table"].as_u64().unwrap_or(0);
            let known = world.tables.iter().any(|known| known.id == table);
            if join["lib/type"] != "mbql/join" || join["strategy"] != "inner-join" || !known {
                return Err("joins: unknown kind, strategy or table".to_owned());
            }
            joins.insert(join["alias"].as_str().ok_or("alias: expected a name")?.to_owned(), table);
        }
        Ok(Self {
            world,
            table,
            given: columns(world, &before),
            joins,
            expressions: option("expressions", "lib/expression-name"),
            aggregations: option("aggregation", "lib/uuid"),
        })
    }

    fn check(&self, stage: &Value) -> Checked {
        for name in ["expressions", "filters", "fields", "aggregation", "breakout", "order-by"] {
            for clause in list(stage, name) {
                self.clause(&clause).map_err(|why| format!("{name}: {why}"))?;
                let operator = clause[0].as_str().unwrap_or_default();
                let fits = match name {
                    "filters" => ["not-null", "="].contains(&operator),
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
        for join in list(stage, "joins") {
            let conditions = list(&join, "conditions");
            if conditions.is_empty() || conditions.iter().any(|clause| clause[0] != "=") {
                return Err("conditions: expected some that compare".to_owned());
            }
            conditions.iter().try_for_each(|clause| self.clause(clause))?;
        }
        Ok(())
    }

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
            "field" => self.field(options, &arguments[0])?,
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

    /// By its number, of the table or of a join; or by its name, which needs a type, of the stage before.
    fn field(&self, options: &serde_json::Map<String, Value>, field: &Value) -> Checked {
        let alias = options.get("join-alias").map(|alias| alias.as_str().unwrap_or_default());
        if let Some(name) = field.as_str() {
            let typed = alias.is_none() && options.contains_key("base-type");
            return if typed && self.given.contains(name) { Ok(()) } else { Err(format!("{name}: no such column")) };
        }
        let id = field.as_u64().ok_or("field: expected a number or a name")?;
        let table = match alias {
            Some(alias) => self.joins.get(alias).copied(),
            None => self.table,
        };
        if table.is_none() || self.world.field(id).map(|(table, _)| table.id) != table {
            return Err(format!("field {id} is not of table {table:?}"));
        }
        Ok(())
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
