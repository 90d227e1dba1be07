//! The subcommand `check`, which looks and changes nothing.

use service::Fatal;
use service::commands::{print_settings, report};
use service::settings::Source;

use crate::config::Config;
use crate::{server, store};

/// Prints every setting and where it came from, then tests the database and the address; the first failure is the end's.
pub async fn check(config: &Config, sources: &[Source]) -> Result<(), Fatal> {
    print_settings(sources);
    let database = async { Ok(store::inspect(&store::locate(&config.database_url)?).await?) };
    let database: Result<String, Fatal> = database.await;
    let address = server::bind(config).map(|_| format!("{} is free", config.api_addr));
    report([("DATABASE_URL".to_owned(), database), ("API_ADDR".to_owned(), address)])
}
