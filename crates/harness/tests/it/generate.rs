//! The generator's database is one that the API has made.

use harness::generate::{self, Options};
use harness::system::Api;

use super::Result;

#[tokio::test]
async fn what_is_generated_is_what_the_api_serves() -> Result {
    harness::install_tls();
    let dir = tempfile::tempdir()?;
    let api = Api::start(dir.path()).await?;
    let from = "2026-10-01T00:00:00Z".parse()?;
    let options = Options { messages: 12_345, topics: 50, days: 30, from, seed: 1 };
    let mut heard = Vec::new();
    generate::fill(&api.url(), &options, |stored| heard.push(stored)).await?;
    assert_eq!(heard, [5_000, 10_000, 12_345]);
    // Whether or not it says how far its projections are.
    generate::projected(&api.url(), false).await?;
    let rows = api.rows().all().await?;
    assert_eq!(rows.len(), 12_345);
    for (row, number) in rows.into_iter().zip(0..) {
        let reading = options.reading(number)?;
        assert_eq!(row.topico.as_deref(), reading.topico.as_deref());
        assert_eq!(row.valor.as_deref(), Some(&*reading.valor.0));
        assert_eq!(row.timestamp, reading.timestamp.map(|timestamp| timestamp.to_string()));
    }
    Ok(())
}

/// As the README has it: `generate -- data`.
#[test]
fn a_relative_directory_is_one_of_where_it_was_started() -> Result {
    let dir = tempfile::tempdir()?;
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_generate"));
    let output = command.current_dir(dir.path()).args(["data", "--messages", "10"]).output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(dir.path().join("data/dados.db").exists(), "{said}");
    Ok(())
}
