//! The dashboard's filters: their names, and which column of a card each filters.

use serde_json::{Value, json};

/// Names of filters, on the dashboard and in its address.
pub(crate) const PERIOD: &str = "periodo";
pub(crate) const PERIOD_OF_HOURS: &str = "periodo_horas";
pub(crate) const TOPIC: &str = "topico";
pub(crate) const FIELD: &str = "campo";

/// A filter of the dashboard, and which column of the card it filters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filter {
    pub(crate) parameter: &'static str,
    field: u64,
    /// The join and the stage that the column is of, where the card has more than one table.
    place: Option<(Option<&'static str>, u32)>,
    /// The column that it was before, of a card that then had one table.
    before: Option<u64>,
}

impl Filter {
    /// A column of the only table.
    pub(crate) fn of(parameter: &'static str, field: u64) -> Self {
        Self { parameter, field, place: None, before: None }
    }

    /// A column of one of several tables: which join, if any, of which stage; and the column that it was before.
    pub(crate) fn at(
        parameter: &'static str,
        field: u64,
        (join, stage): (Option<&'static str>, u32),
        before: u64,
    ) -> Self {
        Self { parameter, field, place: Some((join, stage)), before: Some(before) }
    }

    /// `["dimension", ["field", id, options], {"stage-number": n}]`: here, the older form of a field has its place.
    pub(crate) fn target(&self) -> Value {
        match self.place {
            None => json!(["dimension", ["field", self.field, null]]),
            Some((join, stage)) => {
                let options = join.map(|alias| json!({"join-alias": alias}));
                json!(["dimension", ["field", self.field, options], {"stage-number": stage}])
            }
        }
    }

    /// Whether this is what an earlier version mapped the filter to: a column that the card does not have any more.
    pub(crate) fn was(&self, target: &Value) -> bool {
        let field = &target[1];
        self.before.is_some() && field[1].as_u64() == self.before && field[2]["join-alias"].is_null()
    }
}
