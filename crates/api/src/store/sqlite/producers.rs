//! The ledger of the producers: reports come in, and what is kept is read back.

use dados::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};
use uuid::Uuid;

use super::claim::claim;
use super::insert::rows_left_out;
use super::read::{Reader, bounded};
use crate::store::{Denial, Kept, Place, ProducerPage, Report, Sender, StoreError, Totals};

const COLUMNS: &str =
    "uuid, nome, token, ultima_sequencia, recebidas, confirmadas, armazenadas, quarentena, danificadas,
    criado_em, visto_em, id";

/// Takes a report inside the open transaction, makes its producer where it is new, and gives what is kept of it then.
pub(super) async fn report(
    conn: &mut SqliteConnection,
    (report, sender): &(Report, Sender),
    now: Timestamp,
) -> Result<Result<Kept, Denial>, sqlx::Error> {
    let producer = match claim(conn, (report.uuid, sender, 1), now).await? {
        Ok(producer) => producer,
        Err(denial) => return Ok(Err(denial)),
    };
    let sql = format!(
        "update produtores set nome = coalesce(?, nome), recebidas = ?, confirmadas = ?, quarentena = ?, danificadas = ?
         where id = ? returning {COLUMNS}"
    );
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(&report.name)
        .bind(report.received)
        .bind(report.confirmed)
        .bind(report.quarantined)
        .bind(report.damaged)
        .bind(producer.id)
        .fetch_optional(conn)
        .await?;
    kept(&row.ok_or_else(rows_left_out)?).map(Ok)
}

impl Reader {
    /// One producer.
    pub(crate) async fn producer(&self, uuid: Uuid) -> Result<Option<Kept>, StoreError> {
        let sql = format!("select {COLUMNS} from produtores where uuid = ?");
        let query = sqlx::query(AssertSqlSafe(sql)).bind(uuid.to_string());
        bounded(async { query.fetch_optional(&self.pool).await?.as_ref().map(kept).transpose() }).await
    }

    /// At most `limit` producers, the one that was heard of last first, behind a place in that order.
    pub(crate) async fn producers(&self, limit: u32, after: Option<Place>) -> Result<ProducerPage, StoreError> {
        // A row value with null compares as null, so a moment that is not known is the empty text, which is the least.
        let sql = format!(
            "select {COLUMNS} from produtores where ?1 is null or (coalesce(visto_em, ''), id) < (?1, ?2)
             order by coalesce(visto_em, '') desc, id desc limit ?3"
        );
        let seen = after.as_ref().map(|place| place.last_seen.map(Timestamp::to_sql).unwrap_or_default());
        // One more, to know whether there is another page.
        let query = sqlx::query(AssertSqlSafe(sql)).bind(seen).bind(after.map(|place| place.id)).bind(limit + 1);
        let rows = async { query.fetch_all(&self.pool).await?.iter().map(kept).collect::<Result<Vec<_>, _>>() };
        let mut producers = bounded(rows).await?;
        let has_more = producers.len() > limit as usize;
        producers.truncate(limit as usize);
        let last = producers.last().filter(|_| has_more);
        let next_after = last.map(|last| Place { last_seen: last.last_seen, id: last.id });
        Ok(ProducerPage { producers, next_after })
    }

    /// What is said of all producers together.
    pub(crate) async fn totals(&self) -> Result<Totals, StoreError> {
        // `Kept::missing` in SQL. By `total`, whose result is a float: a `sum` of what clients may report can overflow.
        let sql = "select count(*), total(max(missing, 0)), count(*) filter (where missing <> 0)
                   from (select max(ultima_sequencia, confirmadas) - armazenadas - quarentena - danificadas as missing
                         from produtores)";
        let (total, missing, differing): (i64, f64, i64) = bounded(sqlx::query_as(sql).fetch_one(&self.pool)).await?;
        Ok(Totals { total: total.unsigned_abs(), faltando: missing as u64, com_diferenca: differing.unsigned_abs() })
    }
}

fn kept(row: &SqliteRow) -> Result<Kept, sqlx::Error> {
    let moment = |column| row.try_get::<Option<String>, _>(column).map(|text| text.and_then(|text| text.parse().ok()));
    let uuid: &str = row.try_get(0)?;
    Ok(Kept {
        uuid: Uuid::parse_str(uuid).map_err(|error| sqlx::Error::Decode(error.into()))?,
        name: row.try_get(1)?,
        token: row.try_get(2)?,
        last_sequence: row.try_get(3)?,
        received: row.try_get(4)?,
        confirmed: row.try_get(5)?,
        stored: row.try_get(6)?,
        quarantined: row.try_get(7)?,
        damaged: row.try_get(8)?,
        first_seen: moment(9)?,
        last_seen: moment(10)?,
        id: row.try_get(11)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::adopt;
    use crate::store::{Writer, connect};
    use sqlx::Connection as _;

    async fn open(dir: &tempfile::TempDir) -> (Writer, Reader) {
        connect(&format!("sqlite:{}/dados.db", dir.path().display()), 1).await.unwrap()
    }

    #[tokio::test]
    async fn totals_are_the_sums_of_the_ledgers() {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, reader) = open(&dir).await;
        assert_eq!(reader.totals().await.unwrap(), Totals::default());
        let numbers = [(0, 0), (5, 0), (7, 3), (3, 7), (i64::MAX, 0), (i64::MAX, 0), (0, i64::MAX)];
        let reports: Vec<(Report, Sender)> = (0u128..)
            .zip(numbers)
            .map(|(uuid, (confirmed, damaged))| {
                let (quarantined, name) = (damaged, None);
                let uuid = Uuid::from_u128(uuid);
                let report = Report { uuid, received: confirmed, confirmed, quarantined, damaged, name };
                (report, Sender::default())
            })
            .collect();
        writer.report(&reports, Timestamp::now()).await.unwrap();
        let missing: Vec<i64> =
            reader.producers(100, None).await.unwrap().producers.iter().map(Kept::missing).collect();
        let totals = reader.totals().await.unwrap();
        assert_eq!(totals.total, missing.len() as u64);
        assert_eq!(totals.com_diferenca, missing.iter().filter(|missing| **missing != 0).count() as u64);
        let sum: f64 = missing.iter().map(|missing| (*missing).max(0) as f64).sum();
        assert_eq!(totals.faltando, sum as u64);
    }

    #[tokio::test]
    async fn the_migration_counts_the_rows_that_are_there() {
        let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        adopt::MIGRATOR.run_direct(Some(2), &mut conn, false).await.unwrap();
        let before = "insert into produtores (uuid, ultima_sequencia) values ('a', 3), ('b', 9), ('c', 0);
                      insert into dados (valor, produtor_id) values (1, 1), (2, 1), (3, 2), (4, null)";
        sqlx::raw_sql(before).execute(&mut conn).await.unwrap();
        adopt::migrate(&mut conn).await.unwrap();
        let stored: Vec<(String, i64, Option<String>)> =
            sqlx::query_as("select uuid, armazenadas, criado_em from produtores order by uuid")
                .fetch_all(&mut conn)
                .await
                .unwrap();
        assert_eq!(stored, [("a".to_owned(), 2, None), ("b".to_owned(), 1, None), ("c".to_owned(), 0, None)]);
    }
}
