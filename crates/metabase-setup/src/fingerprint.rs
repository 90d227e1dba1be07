//! A number for what a card says, the same before and after Metabase has stored it: so an edit shows.

use std::fmt::Write as _;
use std::hash::Hasher as _;

use serde_json::Value;
use siphasher::sip::SipHasher13;

/// What Metabase's normalization leaves of a clause's options; it adds types and identities of its own.
const MEANT: &[&str] = &[
    "binning",
    "case-sensitive",
    "display-name",
    "include-current",
    "join-alias",
    "lib/expression-name",
    "name",
    "source-field",
    "temporal-unit",
];

/// The fingerprint of a card: everything of it that we write but the mark.
pub(crate) fn of(name: &str, about: &str, display: &str, query: &Value, visualization: &Value) -> String {
    let mut text = format!("{name:?} {:?} {display:?} ", about.trim());
    clauses(query, &mut text);
    plain(visualization, &mut text);
    let mut hasher = SipHasher13::new();
    hasher.write(text.as_bytes());
    format!("{:016x}", hasher.finish())
}

/// A query, without what Metabase adds to it.
fn clauses(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => match items.as_slice() {
            [Value::String(operator), Value::Object(options), arguments @ ..] => {
                let _ = write!(text, "({operator}");
                let meant = MEANT.iter().filter_map(|name| Some((*name, options.get(*name)?)));
                meant.filter(|(_, value)| !blank(value)).for_each(|(name, value)| {
                    let _ = write!(text, " {name}:");
                    plain(value, text);
                });
                // Metabase gives new identities where it likes, so an aggregation is referred to by what it stands for.
                let arguments = if operator == "aggregation" { &[] } else { arguments };
                arguments.iter().for_each(|argument| clauses(argument, text));
                text.push(')');
            }
            items => {
                text.push('[');
                items.iter().for_each(|item| clauses(item, text));
                text.push(']');
            }
        },
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().filter(|(name, _)| !name.starts_with("lib/")).collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (name, value) in fields.into_iter().filter(|(_, value)| !blank(value)) {
                let _ = write!(text, "{name}:");
                clauses(value, text);
            }
            text.push('}');
        }
        value => plain(value, text),
    }
}

/// Any JSON, its names in order, without what is empty.
fn plain(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            items.iter().for_each(|item| plain(item, text));
            text.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().filter(|(_, value)| !blank(value)).collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (name, value) in fields {
                let _ = write!(text, "{name:?}:");
                plain(value, text);
            }
            text.push('}');
        }
        value => {
            let _ = write!(text, "{value} ");
        }
    }
}

/// Whether a value is as good as none.
fn blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn print(query: Value) -> String {
        of("n", "a", "line", &query, &json!({"graph.metrics": ["media"]}))
    }

    #[test]
    fn what_metabase_adds_changes_nothing() {
        let ours = json!({"lib/type": "mbql/query", "database": 2, "stages": [{
            "lib/type": "mbql.stage/mbql", "source-table": 7,
            "aggregation": [["count", {"lib/uuid": "a"}]],
            "breakout": [["field", {"temporal-unit": "hour"}, 5]],
            "order-by": [["desc", {}, ["aggregation", {}, "a"]]]}]});
        let stored = json!({"database": 2, "lib/type": "mbql/query", "parameters": [], "info": null, "stages": [{
            "lib/type": "mbql.stage/mbql", "source-table": 7, "filters": [],
            "aggregation": [["count", {"lib/uuid": "x", "effective-type": "type/Integer"}]],
            "breakout": [["field", {"lib/uuid": "y", "base-type": "type/DateTime", "temporal-unit": "hour"}, 5]],
            "order-by": [["desc", {"lib/uuid": "z"}, ["aggregation", {"lib/uuid": "w"}, "x"]]]}]});
        assert_eq!(print(ours), print(stored));
    }

    #[test]
    fn what_metabase_adds_to_a_join_changes_nothing_and_another_condition_shows() {
        let query = |uuid: &str, options: Value, condition: &str| {
            print(json!({"database": 2, "stages": [{"source-table": 7, "limit": 100}, {"joins": [{
                "lib/type": "mbql/join", "lib/options": {"lib/uuid": uuid}, "alias": "l", "strategy": "inner-join",
                "stages": [{"source-table": 8}],
                "conditions": [["=", {}, ["field", options, "topico"], ["field", {"join-alias": condition}, 5]]]}]}]}))
        };
        let ours = query("a", json!({"base-type": "type/Text"}), "l");
        assert_eq!(ours, query("b", json!({"lib/uuid": "c", "effective-type": "type/Text"}), "l"));
        assert_ne!(ours, query("a", json!({"base-type": "type/Text"}), "m"));
    }

    #[test]
    fn every_edit_shows() {
        let query = |edit: fn(&mut Value)| {
            let mut query = json!({"database": 2, "stages": [{"source-table": 7, "limit": 100,
                "fields": [["field", {}, 1], ["field", {"temporal-unit": "hour"}, 2]]}]});
            edit(&mut query);
            print(query)
        };
        let mut seen = vec![
            query(|_| {}),
            query(|query| query["stages"][0]["limit"] = json!(50)),
            query(|query| query["stages"][0]["fields"][0][2] = json!(3)),
            query(|query| query["stages"][0]["fields"][1][1]["temporal-unit"] = json!("day")),
            query(|query| query["stages"][0]["filters"] = json!([["=", {}, ["field", {}, 1], "x"]])),
            query(|query| query["stages"][0]["filters"] = json!([["=", {}, ["field", {}, 1], "y"]])),
            query(|query| query["stages"] = json!([query["stages"][0], query["stages"][0]])),
            of("m", "a", "line", &json!({}), &json!({})),
            of("m", "b", "line", &json!({}), &json!({})),
            of("m", "b", "bar", &json!({}), &json!({})),
            of("m", "b", "bar", &json!({}), &json!({"graph.show_values": true})),
        ];
        let all = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), all);
    }

    #[test]
    fn it_is_the_same_in_every_version() {
        assert_eq!(of("n", "a", "table", &json!({"database": 1}), &json!({})), "e5cac9b831e64540");
    }
}
