//! The cards: what each asks of which table, how it looks, and which filters it follows.

use crate::filters::{FIELD, Filter, PERIOD, PERIOD_OF_HOURS, TOPIC};
use crate::mbql::{
    Clause, Join, Options, Query, Stage, ascending, call, descending, field, given, joined, joined_rounded, named,
    rounded,
};
use crate::tables::Tables;
use crate::text::{Title, Words};
use crate::wire::{CardBody, Visualization};
use crate::{fingerprint, mark};

/// Most bars that fit beside each other.
const TOPICS_MAX: u32 = 50;
const MESSAGES_MAX: u32 = 100;
/// Metabase draws no more lines in one chart: it shows an error instead.
const SERIES_MAX: u32 = 100;
/// Any UUID will do: the order refers to the sum by it.
const SUM_UUID: &str = "5b0b5c0a-3f52-4d2f-9d8e-0d6b8f2f6b11";
const JOIN_UUID: &str = "5b0b5c0a-3f52-4d2f-9d8e-0d6b8f2f6b12";
/// The keys of the cards whose columns filters offer.
pub(crate) const TOPICS: &str = "topicos";
pub(crate) const FIELDS: &str = "campos";

/// A card as it should be.
pub(crate) struct Card {
    /// Which one it is, for ever: it stands in marks.
    pub(crate) key: &'static str,
    pub(crate) title: Title,
    display: &'static str,
    query: Query,
    visualization: Visualization,
    pub(crate) filters: Vec<Filter>,
    pub(crate) place: Place,
}

/// Where a card stands on a new dashboard, whose grid has 24 columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) col: u64,
    pub(crate) row: u64,
    pub(crate) width: u64,
    pub(crate) height: u64,
}

impl Card {
    /// The fingerprint of what [`Self::body`] writes.
    pub(crate) fn fingerprint(&self) -> String {
        let query = serde_json::to_value(&self.query).expect("a query is JSON");
        let visualization = serde_json::to_value(&self.visualization).expect("settings are JSON");
        fingerprint::of(self.title.name, self.title.about, self.display, &query, &visualization)
    }

    /// The description with the mark: key and fingerprint.
    pub(crate) fn description(&self) -> String {
        mark::write(self.title.about, self.key, [self.fingerprint().as_str()])
    }

    pub(crate) fn body<'a>(&'a self, description: &'a str, collection_id: u64) -> CardBody<'a> {
        CardBody {
            name: self.title.name,
            description,
            kind: "question",
            display: self.display,
            collection_id,
            dataset_query: &self.query,
            visualization_settings: &self.visualization,
        }
    }
}

/// All cards, in the order of the dashboard.
pub(crate) fn cards(database: u64, tables: &Tables, words: &Words) -> [Card; 7] {
    let make = Maker { database, tables, words };
    [make.minutes(), make.hours(), make.latest(), make.messages(), make.fields(), make.newest(), make.producers()]
}

struct Maker<'a> {
    database: u64,
    tables: &'a Tables,
    words: &'a Words,
}

impl Maker<'_> {
    fn minutes(&self) -> Card {
        let place = Place { col: 0, row: 0, width: 24, height: 8 };
        self.series("minutos", self.words.minutes, ("leituras_minuto", "minuto", "minute"), PERIOD, place)
    }

    fn hours(&self) -> Card {
        let place = Place { col: 0, row: 8, width: 24, height: 7 };
        self.series("horas", self.words.hours, ("leituras_hora", "hora", "hour"), PERIOD_OF_HOURS, place)
    }

    /// The mean of each step of time: the sum of the sums by the sum of the counts, since means have no mean. A line
    /// chart takes one column beside the time, so topic and field become one.
    ///
    /// The first stage chooses the series, so that there are never more than Metabase draws. The filters for topic and
    /// field are of that stage: what people choose is always among them.
    fn series(
        &self,
        key: &'static str,
        title: Title,
        (table, time, unit): (&'static str, &'static str, &'static str),
        period: &'static str,
        place: Place,
    ) -> Card {
        const SERIES: &str = "serie";
        const MEAN: &str = "media";
        let id = |field| self.id(table, field);
        let [topic, campo] = ["topico", "campo"].map(|field| self.id("campos", field));
        let mut stage = Stage::next();
        let conditions = ["topico", "campo"].map(|name| call("=", [given(name), joined(table, id(name))]));
        stage.joins = vec![Join::inner(table, JOIN_UUID, self.tables.table(table), conditions.into())];
        let series = Options { expression_name: Some(SERIES), ..Options::default() };
        let parts = vec![given("topico"), Clause::Text(" · "), given("campo")];
        stage.expressions = vec![Clause::Call("concat", series, parts)];
        let mean = Options { name: Some(MEAN), display_name: Some(self.words.mean), ..Options::default() };
        let sums = ["soma", "n"].map(|name| call("sum", [joined(table, id(name))]));
        stage.aggregation = vec![Clause::Call("/", mean, sums.into())];
        stage.breakout = vec![joined_rounded(table, id(time), unit), named(SERIES)];
        // Metabase cuts answers at 10,000 rows without a word: then the oldest are missing, not the newest.
        stage.order_by = vec![descending(joined_rounded(table, id(time), unit))];
        let period = Filter::at(period, id(time), (Some(table), 1), id(time));
        let chosen = |parameter, field, name| Filter::at(parameter, field, (None, 0), id(name));
        Card {
            key,
            title,
            display: "line",
            query: Query::new(self.database, [self.chosen_series(), stage]),
            visualization: Visualization {
                dimensions: vec![time, SERIES],
                metrics: vec![MEAN],
                x_scale: Some("timeseries"),
                y_unpinned: Some(true),
            },
            filters: vec![period, chosen(TOPIC, topic, "topico"), chosen(FIELD, campo, "campo")],
            place,
        }
    }

    /// Topic and field of the series that are drawn: of those with numbers the ones heard on the newest day, by name, so
    /// that the same ones are drawn at each look.
    fn chosen_series(&self) -> Stage {
        let id = |field| self.id("campos", field);
        let mut stage = self.listing("campos", &["topico", "campo"]);
        stage.filters = vec![call("not-null", [field(id("ultimo_numero"))])];
        let day = rounded(id("ultimo_timestamp"), "day");
        stage.order_by = vec![descending(day), ascending(field(id("topico"))), ascending(field(id("campo")))];
        stage.limit = Some(SERIES_MAX);
        stage
    }

    /// Without the period: a sensor that has fallen silent is what one looks for here.
    fn latest(&self) -> Card {
        let columns = ["topico", "ultimo_valor", "ultimo_numero", "ultimo_timestamp", "mensagens"];
        let mut stage = self.listing("topicos", &columns);
        stage.order_by = vec![descending(field(self.id("topicos", "ultimo_timestamp")))];
        let place = Place { col: 0, row: 15, width: 14, height: 8 };
        self.table(TOPICS, self.words.latest, stage, vec![Filter::of(TOPIC, self.id("topicos", "topico"))], place)
    }

    fn fields(&self) -> Card {
        let columns = ["topico", "campo", "ultimo_numero", "ultimo_texto", "ultimo_timestamp", "leituras"];
        let id = |field| self.id("campos", field);
        let mut stage = self.listing("campos", &columns);
        stage.order_by = vec![descending(field(id("ultimo_timestamp")))];
        let filters = vec![Filter::of(TOPIC, id("topico")), Filter::of(FIELD, id("campo"))];
        let place = Place { col: 0, row: 23, width: 24, height: 8 };
        self.table(FIELDS, self.words.fields, stage, filters, place)
    }

    fn messages(&self) -> Card {
        const SUM: &str = "mensagens";
        let topic = self.id("topicos", "topico");
        let mut stage = self.stage("topicos");
        let sum = Options {
            name: Some(SUM),
            display_name: Some(self.words.count),
            uuid: Some(SUM_UUID),
            ..Options::default()
        };
        stage.aggregation = vec![Clause::Call("sum", sum, vec![field(self.id("topicos", "mensagens"))])];
        stage.breakout = vec![field(topic)];
        stage.order_by = vec![descending(call("aggregation", [Clause::Text(SUM_UUID)]))];
        stage.limit = Some(TOPICS_MAX);
        Card {
            key: "mensagens",
            title: self.words.messages,
            display: "bar",
            query: Query::new(self.database, [stage]),
            visualization: Visualization { dimensions: vec!["topico"], metrics: vec![SUM], ..Visualization::default() },
            filters: vec![Filter::of(TOPIC, topic)],
            place: Place { col: 14, row: 15, width: 10, height: 8 },
        }
    }

    fn newest(&self) -> Card {
        let mut stage = self.listing("dados", &["id", "timestamp", "topico", "valor", "qos", "retido", "dup"]);
        stage.order_by = vec![descending(field(self.id("dados", "id")))];
        stage.limit = Some(MESSAGES_MAX);
        let id = |field| self.id("dados", field);
        let filters = vec![Filter::of(PERIOD, id("timestamp")), Filter::of(TOPIC, id("topico"))];
        let place = Place { col: 0, row: 31, width: 24, height: 9 };
        self.table("dados", self.words.newest, stage, filters, place)
    }

    fn producers(&self) -> Card {
        let columns = ["nome", "uuid", "recebidas", "armazenadas", "quarentena", "danificadas", "visto_em"];
        let mut stage = self.listing("produtores", &columns);
        stage.order_by = vec![descending(field(self.id("produtores", "visto_em")))];
        let place = Place { col: 0, row: 40, width: 24, height: 5 };
        self.table("produtores", self.words.producers, stage, Vec::new(), place)
    }

    fn table(&self, key: &'static str, title: Title, stage: Stage, filters: Vec<Filter>, place: Place) -> Card {
        let query = Query::new(self.database, [stage]);
        Card { key, title, display: "table", query, visualization: Visualization::default(), filters, place }
    }

    fn listing(&self, table: &'static str, columns: &[&'static str]) -> Stage {
        let mut stage = self.stage(table);
        stage.fields = columns.iter().map(|column| field(self.id(table, column))).collect();
        stage
    }

    fn stage(&self, table: &str) -> Stage {
        Stage::of(self.tables.table(table))
    }

    fn id(&self, table: &str, field: &str) -> u64 {
        self.tables.field(table, field).id
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::Locale;
    use crate::text::words;

    #[test]
    fn cards_fit_the_grid_and_each_other() {
        let tables = Tables::new(crate::tables::tests::all()).ok().unwrap();
        let cards = cards(1, &tables, words(Locale::Portuguese));
        let mut taken = BTreeSet::new();
        for Card { key, place, .. } in &cards {
            assert!(place.col + place.width <= 24, "{key}");
            for cell in (0..place.height).flat_map(|y| (0..place.width).map(move |x| (place.row + y, place.col + x))) {
                assert!(taken.insert(cell), "{key} lies on another card");
            }
        }
        let keys: BTreeSet<_> = cards.iter().map(|card| card.key).collect();
        assert_eq!(keys.len(), cards.len());
        assert!(keys.iter().all(|key| key.bytes().all(|byte| byte.is_ascii_lowercase())), "words of a mark");
    }

    #[test]
    fn a_language_is_another_content() {
        let tables = Tables::new(crate::tables::tests::all()).ok().unwrap();
        let [portuguese, english] =
            [Locale::Portuguese, Locale::English].map(|locale| cards(1, &tables, words(locale)));
        for (one, other) in portuguese.iter().zip(&english) {
            assert_ne!(one.fingerprint(), other.fingerprint(), "{}", one.key);
        }
    }
}
