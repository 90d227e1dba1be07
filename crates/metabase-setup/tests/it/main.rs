//! Black-box tests: the provisioner against a stand-in for Metabase that refuses what the real one refuses.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails; clippy.toml knows only functions marked #[test]"
)]

mod crash;
mod edits;
mod fresh;
mod metabase;
mod refusals;
mod strict;
mod upgrade;

use std::sync::Once;
use std::time::Duration;

use metabase_setup::config::{Config, Database, Locale, Waits};
use metabase_setup::{Report, run};

use self::metabase::{FILE, Metabase};

const EMAIL: &str = "admin@ponte.local";
const PASSWORD: &str = "a-secret-1";

/// Settings for this stand-in, with waits that no test feels.
fn config(metabase: &Metabase) -> Config {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
    Config {
        url: format!("http://{}/", metabase.addr).parse().unwrap(),
        email: EMAIL.to_owned(),
        password: PASSWORD.into(),
        setup_token: None,
        site_name: "Ponte".to_owned(),
        locale: Locale::Portuguese,
        database_name: "dados".to_owned(),
        database: Database::Sqlite { path: FILE.to_owned() },
        published: "127.0.0.1:3000".parse().unwrap(),
        waits: Waits {
            health_max: Duration::from_secs(30),
            tables_max: Duration::from_secs(30),
            delay_first: Duration::from_millis(1),
            delay_max: Duration::from_millis(1),
            ..Waits::default()
        },
    }
}

/// A run that must succeed.
async fn provision(metabase: &Metabase) -> Report {
    run(&config(metabase)).await.unwrap()
}
