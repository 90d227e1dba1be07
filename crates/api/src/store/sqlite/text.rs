//! Several statements as one text, with what they bind: one round trip to the connection's thread, which costs as much as
//! many rows.

use sqlx::encode::Encode;
use sqlx::sqlite::{SqliteArguments, SqliteQueryResult, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, FromRow, Sqlite, SqliteConnection, Type};

/// A text is made of what stands in this folder, in few forms, so that the connection keeps it prepared: each statement,
/// and to each its share of the arguments.
#[derive(Default)]
pub(super) struct Text {
    sql: String,
    arguments: SqliteArguments,
}

impl Text {
    /// Room for so many more arguments.
    pub(super) fn reserve(&mut self, arguments: usize) {
        self.arguments.reserve(arguments, 0);
    }

    /// One more statement.
    pub(super) fn say(&mut self, statement: &str) {
        if !self.sql.is_empty() {
            self.sql.push(';');
        }
        self.sql.push_str(statement);
    }

    /// The value of the next `?`.
    pub(super) fn bind<'t>(&mut self, value: impl Encode<'t, Sqlite> + Type<Sqlite>) -> Result<(), sqlx::Error> {
        self.arguments.add(value).map_err(sqlx::Error::Encode)
    }

    pub(super) async fn execute(self, conn: &mut SqliteConnection) -> Result<SqliteQueryResult, sqlx::Error> {
        sqlx::query_with(AssertSqlSafe(self.sql), self.arguments).execute(conn).await
    }

    /// The one row that its last statement gives.
    pub(super) async fn fetch_one<R>(self, conn: &mut SqliteConnection) -> Result<R, sqlx::Error>
    where
        R: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        sqlx::query_as_with(AssertSqlSafe(self.sql), self.arguments).fetch_one(conn).await
    }
}
