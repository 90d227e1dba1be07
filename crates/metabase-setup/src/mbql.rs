//! Metabase's query language MBQL 5, as far as our cards need it: a clause is `[operator, {options}, arguments …]`.

use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};

/// What Metabase calls the type of a text.
pub(crate) const TEXT: &str = "type/Text";

/// A query: each stage reads what the one before it gives.
#[derive(Debug, Serialize)]
pub(crate) struct Query {
    #[serde(rename = "lib/type")]
    kind: &'static str,
    database: u64,
    stages: Vec<Stage>,
}

impl Query {
    pub(crate) fn new(database: u64, stages: impl Into<Vec<Stage>>) -> Self {
        Self { kind: "mbql/query", database, stages: stages.into() }
    }
}

/// Where rows come from and what becomes of them. A dashboard's filter is added to the stage that its mapping names.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Stage {
    #[serde(rename = "lib/type")]
    kind: &'static str,
    /// Only in the first stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    source_table: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) joins: Vec<Join>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) expressions: Vec<Clause>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) filters: Vec<Clause>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) fields: Vec<Clause>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) aggregation: Vec<Clause>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) breakout: Vec<Clause>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) order_by: Vec<Clause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u32>,
}

impl Stage {
    /// All rows of a table.
    pub(crate) fn of(source_table: u64) -> Self {
        Self { source_table: Some(source_table), ..Self::next() }
    }

    /// All rows of the stage before it.
    pub(crate) fn next() -> Self {
        Self {
            kind: "mbql.stage/mbql",
            source_table: None,
            joins: Vec::new(),
            expressions: Vec::new(),
            filters: Vec::new(),
            fields: Vec::new(),
            aggregation: Vec::new(),
            breakout: Vec::new(),
            order_by: Vec::new(),
            limit: None,
        }
    }
}

/// The rows of a table that belong to those of the stage, by conditions; both are kept together or not at all.
#[derive(Debug, Serialize)]
pub(crate) struct Join {
    #[serde(rename = "lib/type")]
    kind: &'static str,
    #[serde(rename = "lib/options")]
    options: Options,
    alias: &'static str,
    strategy: &'static str,
    stages: [Box<Stage>; 1],
    conditions: Vec<Clause>,
}

impl Join {
    /// A table, whose columns are [`joined`] by this alias; any UUID will do.
    pub(crate) fn inner(alias: &'static str, uuid: &'static str, table: u64, conditions: Vec<Clause>) -> Self {
        let options = Options { uuid: Some(uuid), ..Options::default() };
        let stages = [Box::new(Stage::of(table))];
        Self { kind: "mbql/join", options, alias, strategy: "inner-join", stages, conditions }
    }
}

/// A clause, or what stands in one.
#[derive(Clone, Debug)]
pub(crate) enum Clause {
    /// `[operator, {options}, arguments …]`
    Call(&'static str, Options, Vec<Clause>),
    /// The number of a field.
    Id(u64),
    /// A piece of text, or a name.
    Text(&'static str),
}

/// What a clause can be told beside its arguments.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Options {
    /// What the column is called in the answer: charts name it so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<&'static str>,
    /// What it is called for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<&'static str>,
    /// The name of an expression, by which [`named`] finds it.
    #[serde(rename = "lib/expression-name", skip_serializing_if = "Option::is_none")]
    pub(crate) expression_name: Option<&'static str>,
    /// Needed only where another clause refers to this one.
    #[serde(rename = "lib/uuid", skip_serializing_if = "Option::is_none")]
    pub(crate) uuid: Option<&'static str>,
    /// Rounds a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) temporal_unit: Option<&'static str>,
    /// Which [`Join`] a column is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) join_alias: Option<&'static str>,
    /// The type of a column that goes by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) base_type: Option<&'static str>,
}

impl Serialize for Clause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Call(operator, options, arguments) => {
                let mut sequence = serializer.serialize_seq(Some(2 + arguments.len()))?;
                sequence.serialize_element(operator)?;
                sequence.serialize_element(options)?;
                for argument in arguments {
                    sequence.serialize_element(argument)?;
                }
                sequence.end()
            }
            Self::Id(id) => serializer.serialize_u64(*id),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// `[operator, {}, arguments …]`
pub(crate) fn call(operator: &'static str, arguments: impl Into<Vec<Clause>>) -> Clause {
    Clause::Call(operator, Options::default(), arguments.into())
}

/// A column.
pub(crate) fn field(id: u64) -> Clause {
    call("field", [Clause::Id(id)])
}

/// A time column, rounded.
pub(crate) fn rounded(id: u64, unit: &'static str) -> Clause {
    Clause::Call("field", Options { temporal_unit: Some(unit), ..Options::default() }, vec![Clause::Id(id)])
}

/// A column of a join.
pub(crate) fn joined(alias: &'static str, id: u64) -> Clause {
    Clause::Call("field", Options { join_alias: Some(alias), ..Options::default() }, vec![Clause::Id(id)])
}

/// A time column of a join, rounded.
pub(crate) fn joined_rounded(alias: &'static str, id: u64, unit: &'static str) -> Clause {
    let options = Options { join_alias: Some(alias), temporal_unit: Some(unit), ..Options::default() };
    Clause::Call("field", options, vec![Clause::Id(id)])
}

/// A text column that the stage before gives.
pub(crate) fn given(name: &'static str) -> Clause {
    Clause::Call("field", Options { base_type: Some(TEXT), ..Options::default() }, vec![Clause::Text(name)])
}

/// The expression of this name.
pub(crate) fn named(expression: &'static str) -> Clause {
    call("expression", [Clause::Text(expression)])
}

/// Largest first.
pub(crate) fn descending(clause: Clause) -> Clause {
    call("desc", [clause])
}

/// Smallest first.
pub(crate) fn ascending(clause: Clause) -> Clause {
    call("asc", [clause])
}
