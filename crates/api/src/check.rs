//! The subcommand `check`, which looks and changes nothing.

use jiff::Timestamp;
use service::Fatal;
use service::commands::{print_settings, report};
use service::settings::Source;

use crate::access::new_token::lines;
use crate::config::Config;
use crate::{server, store};

/// Prints every setting and where it came from, then tests the database and the address; the first failure is the end's.
pub async fn check(config: &Config, sources: &[Source]) -> Result<(), Fatal> {
    print_settings(sources);
    let database = async { Ok(store::inspect(&store::locate(&config.database_url)?).await?) };
    let database: Result<String, Fatal> = database.await;
    let address = server::bind(config).map(|_| format!("{} is free", config.api_addr));
    let mut tried = vec![("DATABASE_URL".to_owned(), database), ("API_ADDR".to_owned(), address)];
    let access = &config.access;
    if access.needs_tokens() {
        match access.all_tokens() {
            Ok(tokens) => {
                tried.extend(lines(&tokens, Timestamp::now()).map(|line| ("token".to_owned(), Ok(line))));
            }
            Err(fatal) => tried.push(("tokens".to_owned(), Err(fatal))),
        }
    }
    if let Some(served) = access.tls().transpose() {
        tried.push(("TLS".to_owned(), served.map(|_| "the certificate and its key can be served".to_owned())));
    }
    tried.extend(access.check().err().map(|fatal| ("API_CORS_ORIGINS".to_owned(), Err(fatal))));
    report(tried)
}
