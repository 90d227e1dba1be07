//! What the subcommands `check` and `health` of both products have in common.

use std::io::Write as _;

use crate::ask::{Answer, Server, ask};
use crate::settings::Source;
use crate::{Exit, Fatal, shown};

/// A value is not padded further than this.
const VALUE_WIDTH_MAX: usize = 48;

/// To standard output, which is these commands' purpose; a reader that went away (`| head`) is no failure.
pub fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Every setting with its value and where it came from, a line each.
pub fn print_settings(sources: &[Source]) {
    let name = sources.iter().map(|source| source.variable.len()).max().unwrap_or(0);
    let value = sources.iter().map(|source| source.value.len()).max().unwrap_or(0).min(VALUE_WIDTH_MAX);
    for source in sources {
        let line = format!("{:name$}  {:value$}  {}", source.variable, source.value, source.origin);
        print(&format!("{}\n", line.trim_end()));
    }
}

/// Asks the server whether it can work, by `/readyz`, which is open to all; exit 69 where it cannot.
pub async fn health(server: Server) -> Result<(), Fatal> {
    let server = Server { token: None, ..server };
    match ask(&server, "GET", "/readyz").await? {
        Answer { status: 200, .. } => Ok(()),
        Answer { body, .. } => {
            Err(Fatal::new(Exit::Unavailable, format_args!("{}: not ready: {}", server.addr, shown(body))))
        }
    }
}
