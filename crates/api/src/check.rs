//! The subcommand `check`, which looks and changes nothing.

use service::Fatal;
use service::commands::print_settings;
use service::doctor::report;
use service::settings::Source;

use crate::config::Config;
use crate::doctor;

/// Prints every setting and where it came from, then what is found; the first failure is the end's.
pub async fn check(config: &Config, sources: &[Source]) -> Result<(), Fatal> {
    print_settings(sources);
    report(&doctor::examine(config).await)
}
