//! The tables that cards read, by name; and what Metabase is told of their columns.

use std::collections::BTreeMap;

use crate::wire;

/// What must be there before a card can be made: what `migrations/sqlite` has, as far as cards read it.
const READ: &[(&str, &[&str])] = &[
    ("campos", &["topico", "campo", "ultimo_numero", "ultimo_texto", "ultimo_timestamp", "leituras"]),
    ("dados", &["id", "valor", "timestamp", "topico", "qos", "retido", "dup"]),
    ("leituras", &["topico", "campo", "timestamp", "texto"]),
    ("leituras_hora", &["topico", "campo", "hora", "n", "soma"]),
    ("leituras_minuto", &["topico", "campo", "minuto", "n", "soma"]),
    ("produtores", &["nome", "uuid", "recebidas", "armazenadas", "quarentena", "danificadas", "visto_em"]),
    ("topicos", &["topico", "ultimo_valor", "ultimo_numero", "ultimo_timestamp", "mensagens"]),
];

/// Nothing to look at: indexes in the form of tables, and bookkeeping; each with the version that hides it.
pub(crate) const TECHNICAL: &[(&str, u32)] = &[
    ("_sqlx_migrations", 1),
    ("dados_por_tempo", 2),
    ("dados_por_topico", 1),
    ("idempotencia", 1),
    ("projecoes", 1),
    ("retencao", 2),
];

/// Goes up with every change of [`RULES`] or [`TECHNICAL`]: they are applied once, so that edits by hand stay.
pub(crate) const RULES_VERSION: u32 = 2;

/// What Metabase is told of a column.
pub(crate) struct Rule {
    pub(crate) table: &'static str,
    pub(crate) field: &'static str,
    /// `list`: filters offer its values. `none`: Metabase does not collect them. It does so once a day by reading the
    /// whole table, so only tables with a row for each topic or field have lists.
    pub(crate) values: Option<&'static str>,
    /// What version 1 of the rules said.
    pub(crate) values_before: Option<&'static str>,
    /// What it means. Metabase takes every column of these tables' keys for a primary key, which filters and charts
    /// treat as a number that identifies a row.
    pub(crate) semantic: Option<&'static str>,
}

const LIST: Option<&str> = Some("list");
const NONE: Option<&str> = Some("none");
const CATEGORY: Option<&str> = Some("type/Category");

/// A topic or field in a table with few rows.
const fn listed(table: &'static str, field: &'static str) -> Rule {
    Rule { table, field, values: LIST, values_before: LIST, semantic: CATEGORY }
}

/// A topic or field in a table that grows with the messages.
const fn unlisted(table: &'static str, field: &'static str) -> Rule {
    Rule { table, field, values: NONE, values_before: LIST, semantic: CATEGORY }
}

const fn text(table: &'static str, field: &'static str) -> Rule {
    Rule { table, field, values: NONE, values_before: NONE, semantic: None }
}

const fn time(table: &'static str, field: &'static str) -> Rule {
    Rule { table, field, values: None, values_before: None, semantic: Some("type/CreationTimestamp") }
}

pub(crate) const RULES: &[Rule] = &[
    listed("campos", "topico"),
    listed("campos", "campo"),
    text("campos", "ultimo_texto"),
    unlisted("dados", "topico"),
    text("dados", "valor"),
    unlisted("leituras", "topico"),
    unlisted("leituras", "campo"),
    time("leituras", "timestamp"),
    text("leituras", "texto"),
    unlisted("leituras_hora", "topico"),
    unlisted("leituras_hora", "campo"),
    time("leituras_hora", "hora"),
    unlisted("leituras_minuto", "topico"),
    unlisted("leituras_minuto", "campo"),
    time("leituras_minuto", "minuto"),
    listed("topicos", "topico"),
    text("topicos", "ultimo_valor"),
];

/// The tables that Metabase knows, by name; it has all that [`READ`] asks for.
pub(crate) struct Tables(BTreeMap<String, Table>);

struct Table {
    id: u64,
    hidden: bool,
    fields: BTreeMap<String, wire::Field>,
}

impl Tables {
    /// Else the names of what is missing.
    pub(crate) fn new(metadata: wire::Metadata) -> Result<Self, Vec<String>> {
        let named = |table: wire::Table| {
            let fields = table.fields.into_iter().map(|field| (field.name.clone(), field)).collect();
            (table.name, Table { id: table.id, hidden: table.visibility_type.is_some(), fields })
        };
        let tables: BTreeMap<_, _> = metadata.tables.into_iter().map(named).collect();
        let mut missing = Vec::new();
        for (name, fields) in READ {
            match tables.get(*name) {
                None => missing.push((*name).to_owned()),
                Some(table) => {
                    let lacking = fields.iter().filter(|field| !table.fields.contains_key(**field));
                    missing.extend(lacking.map(|field| format!("{name}.{field}")));
                }
            }
        }
        if missing.is_empty() { Ok(Self(tables)) } else { Err(missing) }
    }

    /// The number of a table, if Metabase has it and shows it.
    pub(crate) fn visible(&self, table: &str) -> Option<u64> {
        self.0.get(table).filter(|table| !table.hidden).map(|table| table.id)
    }

    /// The number of a table of [`READ`].
    pub(crate) fn table(&self, table: &str) -> u64 {
        self.0[table].id
    }

    /// A column of a table of [`READ`].
    pub(crate) fn field(&self, table: &str, field: &str) -> &wire::Field {
        &self.0[table].fields[field]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// All that is read, with numbers from 101 and 1001 on.
    pub(crate) fn all() -> wire::Metadata {
        let mut next = 1000;
        let mut field = |name: &&str| {
            next += 1;
            wire::Field { id: next, name: (*name).to_owned(), has_field_values: None, semantic_type: None }
        };
        let mut tables = Vec::new();
        for (place, (name, fields)) in (101..).zip(READ) {
            let fields = fields.iter().map(&mut field).collect();
            tables.push(wire::Table { id: place, name: (*name).to_owned(), visibility_type: None, fields });
        }
        wire::Metadata { tables }
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut metadata = all();
        metadata.tables.retain(|table| table.name != "topicos");
        metadata.tables[0].fields.retain(|field| field.name != "campo");
        assert_eq!(Tables::new(metadata).err().unwrap(), ["campos.campo", "topicos"]);
        assert!(Tables::new(all()).is_ok());
    }

    /// Name and type of every column that the migrations make, as `table.column`.
    fn migrated() -> BTreeMap<String, String> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/sqlite");
        let mut columns = BTreeMap::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let mut table = String::new();
            for line in text.lines() {
                let words: Vec<_> = line.split_whitespace().map(|word| word.trim_end_matches([',', ';'])).collect();
                match words.as_slice() {
                    ["create", "table", .., name, "("] => table = (*name).to_owned(),
                    ["alter", "table", table, "add", "column", name, kind, ..] => {
                        columns.insert(format!("{table}.{name}"), (*kind).to_owned());
                    }
                    [name, kind, ..] if line.starts_with("    ") => {
                        columns.insert(format!("{table}.{name}"), (*kind).to_owned());
                    }
                    _ => {}
                }
            }
        }
        columns
    }

    #[test]
    fn the_migrations_make_every_column_that_is_read_and_times_are_datetime() {
        let columns = migrated();
        let read = READ.iter().flat_map(|(table, fields)| fields.iter().map(move |field| (table, field)));
        for (table, field) in read {
            let kind = columns.get(&format!("{table}.{field}"));
            assert!(kind.is_some(), "{table}.{field} is in no migration");
            let time = ["timestamp", "ultimo_timestamp", "minuto", "hora", "visto_em"].contains(field);
            assert_eq!(kind.unwrap() == "datetime", time, "{table}.{field}: Metabase takes only datetime for a time");
        }
    }

    #[test]
    fn every_rule_is_about_a_column_that_is_waited_for() {
        let tables = Tables::new(all()).ok().unwrap();
        for rule in RULES {
            let _ = tables.field(rule.table, rule.field);
        }
        assert!(TECHNICAL.iter().all(|(technical, _)| READ.iter().all(|(table, _)| table != technical)));
    }
}
