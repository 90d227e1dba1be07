//! The dashboard: its filters, and what is to be written so that what is there stays and what is missing comes.

use serde_json::{Map, Value, json};

use crate::cards::{Card, FIELD, PERIOD, PERIOD_OF_HOURS, TOPIC};
use crate::mark;
use crate::text::Words;
use crate::wire::{Dashboard, DashboardBody, DashcardBody, DashcardVisualization, Mapping, NewDashcard, Parameter};

/// Which of our things it is, in its mark; the notes are the cards that it was ever given.
pub(crate) const KEY: &str = "painel";

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

/// The cards that a dashboard was ever given: one that is not on it any more was taken off.
pub(crate) fn given(dashboard: &Dashboard) -> Option<Vec<&str>> {
    let mark = mark::read(dashboard.description.as_deref()?)?;
    (mark.key == KEY).then_some(mark.notes)
}

/// What to write so that the dashboard has these cards; none where it was given all of them.
pub(crate) fn missing(dashboard: &Dashboard, cards: &[(Card, u64)], words: &Words) -> Option<DashboardBody> {
    let given = given(dashboard)?;
    let new: Vec<_> = cards.iter().filter(|(card, _)| !given.contains(&card.key)).collect();
    if new.is_empty() {
        return None;
    }
    let untouched = given.is_empty() && dashboard.dashcards.is_empty();
    let parameters = untouched && dashboard.parameters.as_ref().is_none_or(Vec::is_empty);
    let filters: Vec<&str> = if parameters {
        self::parameters(words).iter().map(|parameter| parameter.id).collect()
    } else {
        dashboard.parameters.iter().flatten().filter_map(|parameter| parameter.get("id")?.as_str()).collect()
    };
    let tabs: Vec<_> = dashboard.tabs.iter().flatten().map(|tab| only(tab, TAB_KEYS)).collect();
    let tab = tabs.first().and_then(|tab| tab.get("id")?.as_u64());
    let mut row = if untouched { 0 } else { bottom(dashboard, tab) };
    let there = |id: u64| dashboard.dashcards.iter().any(|dashcard| number(dashcard, "card_id") == Some(id));
    let mut dashcards: Vec<_> = dashboard.dashcards.iter().map(|dashcard| DashcardBody::Kept(kept(dashcard))).collect();
    for (place, (card, id)) in (1..).zip(new.iter().filter(|(_, id)| !there(*id))) {
        let mut dashcard = place_card(-place, card, *id, &filters);
        dashcard.dashboard_tab_id = tab;
        if !untouched {
            (dashcard.row, dashcard.col) = (row, 0);
            row += dashcard.size_y;
        }
        dashcards.push(DashcardBody::New(dashcard));
    }
    let notes = given.iter().copied().chain(new.iter().map(|(card, _)| card.key));
    Some(DashboardBody {
        description: mark::write(dashboard.description.as_deref()?, KEY, notes),
        width: untouched.then_some("full"),
        parameters: parameters.then(|| self::parameters(words)),
        dashcards,
        tabs,
    })
}

fn place_card(id: i64, card: &Card, card_id: u64, filters: &[&str]) -> NewDashcard {
    let wired = card.filters.iter().filter(|(filter, _)| filters.contains(filter));
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
        parameter_mappings: wired.map(|(filter, field)| Mapping::new(filter, card_id, *field)).collect(),
    }
}

fn parameters(words: &Words) -> Vec<Parameter> {
    let period = |id, name, default| Parameter {
        id,
        name,
        slug: id,
        kind: "date/all-options",
        section: "date",
        default: Some(default),
    };
    let choice = |id, name| Parameter { id, name, slug: id, kind: "string/=", section: "string", default: None };
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
