//! The dashboard: its filters, and what is to be written so that what is there stays and what is missing comes.

use std::iter;

use serde_json::{Map, Value, json};

use crate::cards::{Card, FIELDS, TOPICS};
use crate::filters::{FIELD, Filter, PERIOD, PERIOD_OF_HOURS, TOPIC};
use crate::mark;
use crate::text::Words;
use crate::wire::{
    Dashboard, DashboardBody, DashcardBody, DashcardVisualization, Mapping, NewDashcard, Parameter, ParameterBody,
    ValuesSource,
};

/// Which of our things it is, in its mark; the notes are the cards that it was ever given.
pub(crate) const KEY: &str = "painel";
/// The note beside the cards: which version made the filters. They are changed once, so that edits by hand stay.
const NOTE_FILTERS: &str = "filtros=";
const FILTERS_VERSION: u32 = 2;

/// Six hours of minutes are 27 series before Metabase cuts at 10,000 rows; a day would be 6. It includes the running
/// minute, so that a first look sees what has just come.
const PERIOD_DEFAULT: &str = "past6hours~";
/// Charts by the hour are for long periods, so they have a filter of their own: a week of hours is 59 series.
const PERIOD_OF_HOURS_DEFAULT: &str = "past7days~";

/// What Metabase takes of a card on a dashboard; what else it shows is its own.
const DASHCARD_KEYS: &[&str] = &[
    "id",
    "card_id",
    "action_id",
    "dashboard_tab_id",
    "row",
    "col",
    "size_x",
    "size_y",
    "series",
    "parameter_mappings",
    "inline_parameters",
    "visualization_settings",
];
const TAB_KEYS: &[&str] = &["id", "name", "position"];

/// A card of ours that is there.
pub(crate) struct Placed {
    pub(crate) card: Card,
    pub(crate) id: u64,
    /// Whether it is as this version writes it: nobody has edited it.
    pub(crate) current: bool,
}

/// The cards that a dashboard was ever given: one that is not on it any more was taken off.
pub(crate) fn given(dashboard: &Dashboard) -> Option<Vec<&str>> {
    let notes = notes(dashboard)?;
    Some(notes.into_iter().filter(|note| !note.starts_with(NOTE_FILTERS)).collect())
}

fn notes(dashboard: &Dashboard) -> Option<Vec<&str>> {
    let mark = mark::read(dashboard.description.as_deref()?)?;
    (mark.key == KEY).then_some(mark.notes)
}

/// What to write so that the dashboard has these cards, and filters and mappings as this version makes them; none where
/// nothing is to be done.
pub(crate) fn changes(dashboard: &Dashboard, cards: &[Placed], words: &Words) -> Option<DashboardBody> {
    let given = given(dashboard)?;
    let written = format!("{NOTE_FILTERS}{FILTERS_VERSION}");
    let filters_are_due = !notes(dashboard)?.contains(&written.as_str());
    let new: Vec<_> = cards.iter().filter(|placed| !given.contains(&placed.card.key)).collect();
    let mut kept: Vec<_> = dashboard.dashcards.iter().map(kept).collect();
    let mut mapped_anew = false;
    for dashcard in &mut kept {
        mapped_anew |= map_anew(dashcard, cards);
    }
    if new.is_empty() && !filters_are_due && !mapped_anew {
        return None;
    }
    let untouched = given.is_empty() && dashboard.dashcards.is_empty();
    let parameters = if untouched && dashboard.parameters.as_ref().is_none_or(Vec::is_empty) {
        Some(parameters(words, cards).into_iter().map(ParameterBody::New).collect())
    } else {
        filters_are_due.then(|| with_sources(dashboard, cards)).flatten()
    };
    let filters: Vec<_> = match &parameters {
        Some(parameters) => parameters.iter().filter_map(ParameterBody::id).collect(),
        None => dashboard.parameters.iter().flatten().filter_map(|parameter| parameter.get("id")?.as_str()).collect(),
    };
    let tabs: Vec<_> = dashboard.tabs.iter().flatten().map(|tab| only(tab, TAB_KEYS)).collect();
    let tab = tabs.first().and_then(|tab| tab.get("id")?.as_u64());
    let dashcards = with_cards(dashboard, kept, &new, &filters, tab, untouched);
    let keys = given.iter().copied().chain(new.iter().map(|placed| placed.card.key));
    Some(DashboardBody {
        description: mark::write(dashboard.description.as_deref()?, KEY, iter::once(written.as_str()).chain(keys)),
        width: untouched.then_some("full"),
        parameters,
        dashcards,
        tabs,
    })
}

/// What is there, and the new cards: each in its place on a new dashboard, else below everything.
fn with_cards(
    dashboard: &Dashboard,
    kept: Vec<Map<String, Value>>,
    new: &[&Placed],
    filters: &[&str],
    tab: Option<u64>,
    untouched: bool,
) -> Vec<DashcardBody> {
    let mut row = if untouched { 0 } else { bottom(dashboard, tab) };
    let there = |id: u64| dashboard.dashcards.iter().any(|dashcard| number(dashcard, "card_id") == Some(id));
    let mut dashcards: Vec<_> = kept.into_iter().map(DashcardBody::Kept).collect();
    for (place, Placed { card, id, .. }) in (1..).zip(new.iter().filter(|placed| !there(placed.id))) {
        let mut dashcard = place_card(-place, card, *id, filters);
        dashcard.dashboard_tab_id = tab;
        if !untouched {
            (dashcard.row, dashcard.col) = (row, 0);
            row += dashcard.size_y;
        }
        dashcards.push(DashcardBody::New(dashcard));
    }
    dashcards
}

/// Maps the filters of a card that an earlier version wrote to the columns that it has now. One that somebody has
/// edited has the columns that it had.
fn map_anew(dashcard: &mut Map<String, Value>, cards: &[Placed]) -> bool {
    let id = number(dashcard, "card_id");
    let Some(Placed { card, .. }) = cards.iter().find(|placed| placed.current && Some(placed.id) == id) else {
        return false;
    };
    let mut any = false;
    for mapping in dashcard.get_mut("parameter_mappings").and_then(Value::as_array_mut).into_iter().flatten() {
        let of = |filter: &&Filter| mapping["parameter_id"] == filter.parameter && filter.was(&mapping["target"]);
        if let Some(filter) = card.filters.iter().find(of) {
            mapping["target"] = filter.target();
            any = true;
        }
    }
    any
}

/// The dashboard's filters, where one of ours has no source of values yet: an earlier version made it.
fn with_sources(dashboard: &Dashboard, cards: &[Placed]) -> Option<Vec<ParameterBody>> {
    let mut any = false;
    let give = |parameter: &Map<String, Value>| {
        let mut parameter = parameter.clone();
        let source = parameter.get("id").and_then(Value::as_str).and_then(|id| source(id, cards));
        let chosen = ["values_source_type", "values_query_type"]
            .iter()
            .any(|name| parameter.get(*name).is_some_and(|value| !value.is_null() && value != "list"));
        if let (Some(source), false) = (source, chosen) {
            let Ok(Value::Object(source)) = serde_json::to_value(source) else { unreachable!("it is an object") };
            parameter.extend(source);
            any = true;
        }
        ParameterBody::Kept(parameter)
    };
    let parameters = dashboard.parameters.iter().flatten().map(give).collect();
    any.then_some(parameters)
}

/// The card whose column has the values of a filter.
fn source(parameter: &str, cards: &[Placed]) -> Option<ValuesSource> {
    let (key, column) = match parameter {
        TOPIC => (TOPICS, "topico"),
        FIELD => (FIELDS, "campo"),
        _ => return None,
    };
    let placed = cards.iter().find(|placed| placed.card.key == key)?;
    Some(ValuesSource::card(placed.id, column))
}

fn place_card(id: i64, card: &Card, card_id: u64, filters: &[&str]) -> NewDashcard {
    let wired = card.filters.iter().filter(|filter| filters.contains(&filter.parameter));
    let mapping = |filter: &Filter| Mapping { parameter_id: filter.parameter, card_id, target: filter.target() };
    NewDashcard {
        id,
        card_id,
        dashboard_tab_id: None,
        row: card.place.row,
        col: card.place.col,
        size_x: card.place.width,
        size_y: card.place.height,
        series: [],
        visualization_settings: DashcardVisualization { description: card.title.about },
        parameter_mappings: wired.map(mapping).collect(),
    }
}

fn parameters(words: &Words, cards: &[Placed]) -> Vec<Parameter> {
    let period = |id, name, default| Parameter {
        id,
        name,
        slug: id,
        kind: "date/all-options",
        section: "date",
        default: Some(default),
        source: None,
    };
    let choice = |id, name| {
        let source = source(id, cards);
        Parameter { id, name, slug: id, kind: "string/=", section: "string", default: None, source }
    };
    vec![
        period(PERIOD, words.period, PERIOD_DEFAULT),
        period(PERIOD_OF_HOURS, words.period_of_hours, PERIOD_OF_HOURS_DEFAULT),
        choice(TOPIC, words.topic),
        choice(FIELD, words.field),
    ]
}

/// A dashcard that is there, as Metabase takes it.
fn kept(dashcard: &Map<String, Value>) -> Map<String, Value> {
    let mut kept = only(dashcard, DASHCARD_KEYS);
    // More cards in the same chart: they are answered whole, and taken by their number alone.
    for card in kept.get_mut("series").and_then(Value::as_array_mut).into_iter().flatten() {
        *card = json!({"id": card["id"]});
    }
    kept
}

/// The first row below everything on this tab.
fn bottom(dashboard: &Dashboard, tab: Option<u64>) -> u64 {
    let same =
        dashboard.dashcards.iter().filter(|dashcard| tab.is_none() || number(dashcard, "dashboard_tab_id") == tab);
    let ends = same.filter_map(|dashcard| Some(number(dashcard, "row")? + number(dashcard, "size_y")?));
    ends.max().unwrap_or(0)
}

fn number(fields: &Map<String, Value>, name: &str) -> Option<u64> {
    fields.get(name)?.as_u64()
}

fn only(fields: &Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    let kept = fields.iter().filter(|(name, _)| names.contains(&name.as_str()));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}
