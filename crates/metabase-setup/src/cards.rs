//! The cards: what each asks of which table, how it looks, and which filters it follows.

use crate::mbql::{Clause, Options, Query, Stage, call, descending, field, named, rounded};
use crate::tables::Tables;
use crate::text::{Title, Words};
use crate::wire::{CardBody, Visualization};
use crate::{fingerprint, mark};

/// Names of filters, on the dashboard and in its address.
pub(crate) const PERIOD: &str = "periodo";
pub(crate) const PERIOD_OF_HOURS: &str = "periodo_horas";
pub(crate) const TOPIC: &str = "topico";
pub(crate) const FIELD: &str = "campo";

/// Most bars that fit beside each other.
const TOPICS_MAX: u32 = 50;
const MESSAGES_MAX: u32 = 100;
/// Any UUID will do: the order refers to the sum by it.
const SUM_UUID: &str = "5b0b5c0a-3f52-4d2f-9d8e-0d6b8f2f6b11";

/// A card as it should be.
pub(crate) struct Card {
    /// Which one it is, for ever: it stands in marks.
    pub(crate) key: &'static str,
    pub(crate) title: Title,
    display: &'static str,
    query: Query,
    visualization: Visualization,
    /// Filters, each with the column that it filters.
    pub(crate) filters: Vec<(&'static str, u64)>,
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
pub(crate) fn cards(database: u64, tables: &Tables, words: &Words) -> [Card; 6] {
    let make = Maker { database, tables, words };
    [make.minutes(), make.hours(), make.latest(), make.messages(), make.newest(), make.producers()]
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
        let mut stage = self.stage(table);
        let series = Options { expression_name: Some(SERIES), ..Options::default() };
        let parts = vec![field(id("topico")), Clause::Text(" · "), field(id("campo"))];
        stage.expressions = vec![Clause::Call("concat", series, parts)];
        let mean = Options { name: Some(MEAN), display_name: Some(self.words.mean), ..Options::default() };
        let sums = vec![call("sum", [field(id("soma"))]), call("sum", [field(id("n"))])];
        stage.aggregation = vec![Clause::Call("/", mean, sums)];
        stage.breakout = vec![rounded(id(time), unit), named(SERIES)];
        // Metabase cuts answers at 10,000 rows without a word: then the oldest are missing, not the newest.
        stage.order_by = vec![descending(rounded(id(time), unit))];
        Card {
            key,
            title,
            display: "line",
            query: Query::new(self.database, stage),
            visualization: Visualization {
                dimensions: vec![time, SERIES],
                metrics: vec![MEAN],
                x_scale: Some("timeseries"),
                y_unpinned: Some(true),
            },
            filters: vec![(period, id(time)), (TOPIC, id("topico")), (FIELD, id("campo"))],
            place,
        }
    }

    /// Without the period: a sensor that has fallen silent is what one looks for here.
    fn latest(&self) -> Card {
        let columns = ["topico", "ultimo_valor", "ultimo_numero", "ultimo_timestamp", "mensagens"];
        let mut stage = self.listing("topicos", &columns);
        stage.order_by = vec![descending(field(self.id("topicos", "ultimo_timestamp")))];
        let place = Place { col: 0, row: 15, width: 14, height: 8 };
        self.table("topicos", self.words.latest, stage, vec![(TOPIC, self.id("topicos", "topico"))], place)
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
            query: Query::new(self.database, stage),
            visualization: Visualization { dimensions: vec!["topico"], metrics: vec![SUM], ..Visualization::default() },
            filters: vec![(TOPIC, topic)],
            place: Place { col: 14, row: 15, width: 10, height: 8 },
        }
    }

    fn newest(&self) -> Card {
        let mut stage = self.listing("dados", &["id", "timestamp", "topico", "valor", "qos", "retido", "dup"]);
        stage.order_by = vec![descending(field(self.id("dados", "id")))];
        stage.limit = Some(MESSAGES_MAX);
        let filters = vec![(PERIOD, self.id("dados", "timestamp")), (TOPIC, self.id("dados", "topico"))];
        let place = Place { col: 0, row: 23, width: 24, height: 9 };
        self.table("dados", self.words.newest, stage, filters, place)
    }

    fn producers(&self) -> Card {
        let columns = ["nome", "uuid", "recebidas", "armazenadas", "quarentena", "danificadas", "visto_em"];
        let mut stage = self.listing("produtores", &columns);
        stage.order_by = vec![descending(field(self.id("produtores", "visto_em")))];
        let place = Place { col: 0, row: 32, width: 24, height: 5 };
        self.table("produtores", self.words.producers, stage, Vec::new(), place)
    }

    fn table(
        &self,
        key: &'static str,
        title: Title,
        stage: Stage,
        filters: Vec<(&'static str, u64)>,
        place: Place,
    ) -> Card {
        let query = Query::new(self.database, stage);
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
