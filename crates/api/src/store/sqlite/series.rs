//! The numbers of one field, in the order of time.

use dados::Timestamp;
use futures_util::TryStreamExt as _;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::read::{Reader, bounded};
use crate::store::{Numbers, Rollup, SeriesSelection, StoreError};

/// Both are one range of the primary key, in its order. The caller puts minutes together into longer steps: `group by`
/// would sort them, since SQLite cannot know that a step grows with the minute, and many minutes in temporary files. It
/// would take half of the microsecond that a row takes so, which is 7 of the 15 ms of 1,000 points of 15 minutes.
const MINUTES: &str = "select cast(minuto as text), n, soma, minimo, maximo from leituras_minuto
    where topico = ? and campo = ? and minuto >= ? and minuto < ? order by minuto";
const HOURS: &str = "select cast(hora as text), n, soma, minimo, maximo from leituras_hora
    where topico = ? and campo = ? and hora >= ? and hora < ? order by hora";

fn select(rollup: Rollup) -> &'static str {
    match rollup {
        Rollup::Minute => MINUTES,
        Rollup::Hour => HOURS,
    }
}

/// A bound for times that have no milliseconds: with them, `03:21:00` would come before `03:21:00.000`.
fn bound(moment: Timestamp) -> String {
    let mut text = moment.to_sql();
    text.truncate("YYYY-MM-DD HH:MM:SS".len());
    text
}

impl Reader {
    /// Gives the selected numbers one by one.
    pub(crate) async fn series(
        &self,
        selection: &SeriesSelection,
        mut take: impl FnMut(Numbers),
    ) -> Result<(), StoreError> {
        let SeriesSelection { topico, campo, rollup, from, until } = selection;
        let mut selected = sqlx::query(select(*rollup))
            .bind(topico)
            .bind(campo)
            .bind(bound(*from))
            .bind(bound(*until))
            .fetch(&self.pool);
        let read = async {
            while let Some(row) = selected.try_next().await? {
                take(numbers(&row)?);
            }
            Ok(())
        };
        bounded(read).await
    }
}

fn numbers(row: &SqliteRow) -> Result<Numbers, sqlx::Error> {
    let at: &str = row.try_get(0)?;
    Ok(Numbers {
        at: at.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        count: row.try_get::<i64, _>(1)?.max(0).unsigned_abs(),
        sum: row.try_get(2)?,
        least: row.try_get(3)?,
        most: row.try_get(4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::connect;
    use crate::store::sqlite::adopt;
    use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

    #[tokio::test]
    async fn a_range_of_the_key_is_read_and_nothing_is_sorted() {
        let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        adopt::migrate(&mut conn).await.unwrap();
        for (rollup, table, column) in
            [(Rollup::Minute, "leituras_minuto", "minuto"), (Rollup::Hour, "leituras_hora", "hora")]
        {
            let sql = format!("explain query plan {}", select(rollup));
            let query = sqlx::query(AssertSqlSafe(sql)).bind("a").bind("valor").bind("x").bind("y");
            let plan: Vec<String> =
                query.fetch_all(&mut conn).await.unwrap().iter().map(|row| row.get("detail")).collect();
            let expected =
                format!("SEARCH {table} USING PRIMARY KEY (topico=? AND campo=? AND {column}>? AND {column}<?)");
            assert_eq!(plan, [expected]);
        }
    }

    #[tokio::test]
    async fn the_range_has_its_beginning_and_not_its_end_in_either_form_of_time() {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, reader) = connect(&format!("sqlite:{}/dados.db", dir.path().display()), 1).await.unwrap();
        sqlx::raw_sql(
            "insert into leituras_minuto values
                 ('a', 'x', '2026-11-23 02:59:00', 9, 9, 9, 9), ('a', 'x', '2026-11-23 03:00:00', 1, 1.5, 1.5, 1.5),
                 ('a', 'x', '2026-11-23 03:01:00.000', 2, 5, 2, 3), ('a', 'x', '2026-11-23 03:02:00', 9, 9, 9, 9),
                 ('a', 'y', '2026-11-23 03:00:00', 9, 9, 9, 9), ('A', 'x', '2026-11-23 03:00:00', 9, 9, 9, 9),
                 ('', 'x', '2026-11-23 03:00:00', 9, 9, 9, 9);
             insert into leituras_hora values
                 ('a', 'x', '2026-11-23 03:00:00.000', 4, 10, 1.5, 3), ('a', 'x', '2026-11-23 04:00:00.000', 9, 9, 9, 9)",
        )
        .execute(writer.connection().await.unwrap())
        .await
        .unwrap();
        let moment = |text: &str| text.parse::<Timestamp>().unwrap();
        let read = async |rollup, until| {
            let mut all = Vec::new();
            let (topico, campo) = ("a".to_owned(), "x".to_owned());
            let from = moment("2026-11-23 03:00:00");
            let selection = SeriesSelection { topico, campo, rollup, from, until: moment(until) };
            reader.series(&selection, |numbers| all.push(numbers)).await.unwrap();
            all
        };
        assert_eq!(
            read(Rollup::Minute, "2026-11-23 03:02:00").await,
            [
                Numbers { at: moment("2026-11-23 03:00:00"), count: 1, sum: 1.5, least: 1.5, most: 1.5 },
                Numbers { at: moment("2026-11-23 03:01:00"), count: 2, sum: 5.0, least: 2.0, most: 3.0 },
            ]
        );
        assert_eq!(
            read(Rollup::Hour, "2026-11-23 04:00:00").await,
            [Numbers { at: moment("2026-11-23 03:00:00"), count: 4, sum: 10.0, least: 1.5, most: 3.0 }]
        );
        sqlx::raw_sql("update leituras_hora set hora = '2026-11-23 03:ontem' where n = 4")
            .execute(writer.connection().await.unwrap())
            .await
            .unwrap();
        let selection = SeriesSelection {
            topico: "a".to_owned(),
            campo: "x".to_owned(),
            rollup: Rollup::Hour,
            from: moment("2026-11-23 03:00:00"),
            until: moment("2026-11-23 04:00:00"),
        };
        assert!(matches!(reader.series(&selection, |_| ()).await, Err(StoreError::Unexpected(_))));
    }
}
