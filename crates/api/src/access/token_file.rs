//! `API_TOKENS_FILE`: read again when it changes, so that a token can be revoked without a restart.

use std::path::{Path, PathBuf};
use std::time::Duration;

use service::file;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::Gate;
use super::tokens::Tokens;

/// How often the file is looked at: a revoked token is taken no longer than this.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How many looks in a row may fail between two lines that say so: about one a minute.
const FAILURES_LOGGED: u64 = 30;
/// The largest file that is read; as many entries as may be have a quarter of it.
const FILE_BYTES_MAX: u64 = 256 << 10;

pub(crate) fn read(path: &Path) -> Result<String, String> {
    file::read_text(path, FILE_BYTES_MAX).map_err(|error| error.to_string())
}

/// An entry a line; blank lines and those that begin with `#` are none. An entry without a sound name is named by its
/// line.
pub(crate) fn parse(text: &str) -> Result<Tokens, String> {
    let lines = (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    Tokens::parse(lines).map_err(|bad| bad.to_string())
}

/// Gives the gate what the file has, whenever that changes. What cannot be read or taken leaves the last good tokens in
/// force: nobody is let in who was not, and nobody who is known is shut out by a slip of the pen.
pub(crate) async fn watch(path: Option<PathBuf>, fixed: Tokens, gate: Gate, closing: CancellationToken) {
    let Some(path) = path else { return closing.cancelled().await };
    let mut last = None;
    let mut failures = 0;
    while closing.run_until_cancelled(tokio::time::sleep(LOOK_INTERVAL)).await.is_some() {
        let file = path.clone();
        let Ok(text) = tokio::task::spawn_blocking(move || read(&file)).await else { continue };
        let taken = text.and_then(|text| {
            if last.as_ref() == Some(&text) {
                return Ok(());
            }
            let tokens = fixed.clone().and(parse(&text)?).map_err(|bad| bad.to_string())?;
            if let Some(tokens) = gate.replace(tokens) {
                info!(file = %path.display(), tokens, "API_TOKENS_FILE: read anew");
            }
            last = Some(text);
            Ok(())
        });
        match taken {
            Ok(()) => failures = 0,
            Err(problem) => {
                if failures % FAILURES_LOGGED == 0 {
                    error!(file = %path.display(), problem, "API_TOKENS_FILE: the last good tokens stay in force");
                }
                failures += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_a_line_and_comments() {
        let hash = "0".repeat(64);
        let text = format!("# who may\r\n\n  a:read:{hash}  \r\n#b:read:{hash}\n");
        assert_eq!(parse(&text).unwrap().iter().count(), 1);
        assert_eq!(parse("").unwrap().iter().count(), 0);
        assert!(parse("# one\n\nno entry").err().unwrap().starts_with("entry 3: "));
    }

    #[test]
    fn a_file_that_is_huge_or_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        assert!(read(&path).is_err());
        std::fs::write(&path, "#".repeat(FILE_BYTES_MAX as usize + 1)).unwrap();
        assert!(read(&path).is_err());
        std::fs::write(&path, "#".repeat(FILE_BYTES_MAX as usize)).unwrap();
        assert!(read(&path).is_ok());
    }
}
