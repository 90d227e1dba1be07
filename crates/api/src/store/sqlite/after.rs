//! Rows in the order of their storing, a page at a time, for who follows them.

use futures_util::TryStreamExt as _;
use sqlx::AssertSqlSafe;

use super::read::{COLUMNS, Reader, bounded, dado};
use crate::store::{Followed, Following, StoreError};

/// Rows of all topics that one statement looks through for those of one: some milliseconds.
const SCAN_ROWS_MAX: i64 = 32_768;

impl Reader {
    /// The newest row's id; 0 where there is none.
    pub(crate) async fn newest_id(&self) -> Result<i64, StoreError> {
        bounded(sqlx::query_scalar("select coalesce(max(id), 0) from dados").fetch_one(&self.pool)).await
    }

    /// The next rows; those of one topic may be none though more come, since a read is short whatever there is.
    pub(crate) async fn following(&self, following: &Following) -> Result<Followed, StoreError> {
        bounded(self.read_following(following)).await
    }

    async fn read_following(&self, following: &Following) -> Result<Followed, sqlx::Error> {
        let Following { after, until, ref topico, rows_max, bytes_max } = *following;
        let (until, query) = match topico {
            None => {
                let sql = format!("select id, {COLUMNS} from dados where id > ? and id <= ? order by id limit ?");
                (until, sqlx::query(AssertSqlSafe(sql)).bind(after).bind(until))
            }
            Some(topico) => {
                let until = self.scanned_until(after, until).await?;
                let sql = format!(
                    "select id, {COLUMNS} from dados
                     where id > ? and id <= ? and topico = ? collate binary order by id limit ?"
                );
                (until, sqlx::query(AssertSqlSafe(sql)).bind(after).bind(until).bind(topico.clone()))
            }
        };
        let mut selected = query.bind(rows_max).fetch(&self.pool);
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(row) = selected.try_next().await? {
            let row = dado(&row)?;
            let last = row.id;
            bytes += row.valor.as_ref().map_or(0, String::len) + row.topico.as_ref().map_or(0, String::len);
            rows.push(row);
            if bytes >= bytes_max || rows.len() == rows_max as usize {
                return Ok(Followed { rows, last });
            }
        }
        Ok(Followed { rows, last: until })
    }

    /// The last of the rows that one statement looks through.
    async fn scanned_until(&self, after: i64, until: i64) -> Result<i64, sqlx::Error> {
        let sql = "select max(id) from (select id from dados where id > ? and id <= ? order by id limit ?)";
        let last: Option<i64> =
            sqlx::query_scalar(sql).bind(after).bind(until).bind(SCAN_ROWS_MAX).fetch_one(&self.pool).await?;
        // Where none is left, all have been looked through.
        Ok(last.unwrap_or(until))
    }
}
