//! Collections, cards and dashboards over the wire.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::mbql::{Query, TEXT};

/// `GET /api/collection`
#[derive(Deserialize)]
pub(crate) struct Collection {
    /// A number, or `root`.
    pub(crate) id: Value,
    pub(crate) description: Option<String>,
}

/// `POST /api/collection`
#[derive(Serialize)]
pub(crate) struct NewCollection<'a> {
    pub(crate) name: &'a str,
    pub(crate) description: &'a str,
    pub(crate) parent_id: Option<u64>,
}

/// `PUT /api/collection/:id`
#[derive(Serialize)]
pub(crate) struct CollectionSettings<'a> {
    pub(crate) description: &'a str,
}

/// `GET /api/collection/:id/items`
#[derive(Deserialize)]
pub(crate) struct Item {
    pub(crate) id: u64,
    pub(crate) model: String,
    pub(crate) description: Option<String>,
}

/// `GET /api/card/:id`
#[derive(Deserialize)]
pub(crate) struct Card {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) display: String,
    pub(crate) dataset_query: Value,
    pub(crate) visualization_settings: Value,
}

/// `POST /api/card` and, since we write all of it, `PUT /api/card/:id`.
#[derive(Serialize)]
pub(crate) struct CardBody<'a> {
    pub(crate) name: &'a str,
    pub(crate) description: &'a str,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) display: &'static str,
    pub(crate) collection_id: u64,
    pub(crate) dataset_query: &'a Query,
    pub(crate) visualization_settings: &'a Visualization,
}

/// How a chart looks; empty for a table.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Visualization {
    /// Columns of the answer: the axis, then what makes a series.
    #[serde(rename = "graph.dimensions", skip_serializing_if = "Vec::is_empty")]
    pub(crate) dimensions: Vec<&'static str>,
    #[serde(rename = "graph.metrics", skip_serializing_if = "Vec::is_empty")]
    pub(crate) metrics: Vec<&'static str>,
    #[serde(rename = "graph.x_axis.scale", skip_serializing_if = "Option::is_none")]
    pub(crate) x_scale: Option<&'static str>,
    #[serde(rename = "graph.y_axis.unpin_from_zero", skip_serializing_if = "Option::is_none")]
    pub(crate) y_unpinned: Option<bool>,
}

/// `GET /api/dashboard/:id`. What is there goes back as it came: a PUT replaces all of it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Dashboard {
    pub(crate) id: u64,
    pub(crate) description: Option<String>,
    #[serde(default)]
    pub(crate) archived: bool,
    #[serde(default)]
    pub(crate) parameters: Option<Vec<Map<String, Value>>>,
    #[serde(default)]
    pub(crate) dashcards: Vec<Map<String, Value>>,
    #[serde(default)]
    pub(crate) tabs: Option<Vec<Map<String, Value>>>,
}

impl Dashboard {
    /// One that has just been made.
    pub(crate) fn new(id: u64, description: String) -> Self {
        let description = Some(description);
        Self { id, description, archived: false, parameters: None, dashcards: Vec::new(), tabs: None }
    }
}

/// `POST /api/dashboard`
#[derive(Serialize)]
pub(crate) struct NewDashboard<'a> {
    pub(crate) name: &'a str,
    pub(crate) description: &'a str,
    pub(crate) collection_id: u64,
}

/// `PUT /api/dashboard/:id`
#[derive(Debug, Serialize)]
pub(crate) struct DashboardBody {
    pub(crate) description: String,
    /// Only where there were no cards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) width: Option<&'static str>,
    /// Only where they change: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parameters: Option<Vec<ParameterBody>>,
    pub(crate) dashcards: Vec<DashcardBody>,
    /// Where these are left out, Metabase deletes the tabs.
    pub(crate) tabs: Vec<Map<String, Value>>,
}

/// A filter on a dashboard.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum ParameterBody {
    /// One that is there, with what it has been given.
    Kept(Map<String, Value>),
    /// One of ours that is new.
    New(Parameter),
}

impl ParameterBody {
    pub(crate) fn id(&self) -> Option<&str> {
        match self {
            Self::Kept(parameter) => parameter.get("id")?.as_str(),
            Self::New(parameter) => Some(parameter.id),
        }
    }
}

/// A filter of ours.
#[derive(Debug, Serialize)]
pub(crate) struct Parameter {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) slug: &'static str,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    #[serde(rename = "sectionId")]
    pub(crate) section: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<&'static str>,
    #[serde(flatten)]
    pub(crate) source: Option<ValuesSource>,
}

/// Where a filter's values come from: a column of a card, which is asked each time. Values that Metabase collects from
/// tables are up to a day old.
#[derive(Debug, Serialize)]
pub(crate) struct ValuesSource {
    values_query_type: &'static str,
    values_source_type: &'static str,
    values_source_config: ValuesSourceConfig,
}

#[derive(Debug, Serialize)]
struct ValuesSourceConfig {
    card_id: u64,
    /// `["field", name, {"base-type": …}]`, the older form too.
    value_field: Value,
}

impl ValuesSource {
    /// A text column of a card.
    pub(crate) fn card(card_id: u64, column: &str) -> Self {
        let value_field = json!(["field", column, {"base-type": TEXT}]);
        let values_source_config = ValuesSourceConfig { card_id, value_field };
        Self { values_query_type: "list", values_source_type: "card", values_source_config }
    }
}

/// A card's place on a dashboard.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum DashcardBody {
    /// One that is there, as it is.
    Kept(Map<String, Value>),
    /// One of ours that is new.
    New(NewDashcard),
}

#[derive(Debug, Serialize)]
pub(crate) struct NewDashcard {
    /// Negative: it is new.
    pub(crate) id: i64,
    pub(crate) card_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dashboard_tab_id: Option<u64>,
    pub(crate) row: u64,
    pub(crate) col: u64,
    pub(crate) size_x: u64,
    pub(crate) size_y: u64,
    /// More cards in the same chart: none.
    pub(crate) series: [(); 0],
    pub(crate) visualization_settings: DashcardVisualization,
    pub(crate) parameter_mappings: Vec<Mapping>,
}

#[derive(Debug, Serialize)]
pub(crate) struct DashcardVisualization {
    /// Shown instead of the card's own description, which ends in our mark.
    #[serde(rename = "card.description")]
    pub(crate) description: &'static str,
}

/// Which column of a card a filter filters.
#[derive(Debug, Serialize)]
pub(crate) struct Mapping {
    pub(crate) parameter_id: &'static str,
    pub(crate) card_id: u64,
    pub(crate) target: Value,
}
