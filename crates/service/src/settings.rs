//! Flags = environment = `.env`: one clap schema, and errors that name the variable.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, Parser};
use jiff::{SignedDuration, SpanRelativeTo};

use crate::env_file::{self, ENV_FILE, KNOWN};
use crate::{Exit, Fatal};

/// What was parsed, and where each value came from.
pub struct Parsed<T> {
    /// The program's own settings.
    pub cli: T,
    /// One row a setting, in the order of `--help`.
    pub sources: Vec<Source>,
}

/// Where the value of one setting came from.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name in the environment.
    pub variable: String,
    /// Its value as text, `(hidden)` for secrets, `(not set)`.
    pub value: String,
    /// `flag`, `environment`, `.env`, `default` or nothing.
    pub origin: &'static str,
}

/// How parsing ended when there is nothing to run.
pub enum Stop {
    /// `--help` or `--version`: the text for standard output.
    Shown(String),
    /// A bad setting: exit 64.
    Failed(Fatal),
}

/// Reads `.env`, the environment and the flags. Call it before the runtime starts: it changes the environment.
pub fn parse<T: Parser>() -> Result<Parsed<T>, Stop> {
    let from_file = env_file::load(Path::new(ENV_FILE)).map_err(Stop::Failed)?;
    parse_from(std::env::args_os(), &from_file)
}

fn parse_from<T: Parser>(
    args: impl IntoIterator<Item = OsString>,
    from_file: &BTreeMap<String, usize>,
) -> Result<Parsed<T>, Stop> {
    let args: Vec<_> = args.into_iter().collect();
    let variables = variables(&T::command());
    let mut command = T::command().mut_args(adapt);
    let bad =
        |error, command: &Command| stop(error, command, &|variable, flag| origin(variable, flag, &args, from_file));
    let matches = command.try_get_matches_from_mut(&args).map_err(|error| bad(error, &command))?;
    let cli = T::from_arg_matches(&matches).map_err(|error| bad(error, &command))?;
    let source = |(id, variable): (String, String)| {
        let arg = command.get_arguments().find(|arg| arg.get_id() == id.as_str())?;
        Some(source(arg, variable, &matches, from_file))
    };
    let sources = variables.into_iter().filter_map(source).collect();
    Ok(Parsed { cli, sources })
}

/// Settings may stand before and after a subcommand. Compose hands over `VAR=` for what the user left empty: no value.
fn adapt(arg: Arg) -> Arg {
    let Some(variable) = arg.get_env() else { return arg };
    let blank = std::env::var_os(variable).is_some_and(|value| value.is_empty());
    let arg = arg.global(true);
    if blank { arg.env(None::<&str>) } else { arg }
}

/// Each setting's id and variable, before [`adapt`] takes away what is blank.
fn variables(command: &Command) -> Vec<(String, String)> {
    let variable = |arg: &Arg| Some((arg.get_id().to_string(), arg.get_env()?.to_str()?.to_owned()));
    command.get_arguments().filter_map(variable).collect()
}

fn source(arg: &Arg, variable: String, matches: &ArgMatches, from_file: &BTreeMap<String, usize>) -> Source {
    let id = arg.get_id().as_str();
    let origin = match matches.value_source(id) {
        Some(ValueSource::CommandLine) => "flag",
        Some(ValueSource::EnvVariable) if from_file.contains_key(&variable) => ".env",
        Some(ValueSource::EnvVariable) => "environment",
        Some(_) => "default",
        None => "",
    };
    let value = match matches.try_get_raw(id).ok().flatten() {
        None => "(not set)".to_owned(),
        Some(_) if arg.is_hide_env_values_set() => "(hidden)".to_owned(),
        Some(values) => values.map(|value| without_user(&value.to_string_lossy())).collect::<Vec<_>>().join(","),
    };
    Source { variable, value, origin }
}

/// Where a value that was refused came from, in words. A flag wins over the environment, which wins over the file.
fn origin(variable: &str, flag: &str, args: &[OsString], from_file: &BTreeMap<String, usize>) -> String {
    let flag = format!("--{flag}");
    let is_flag = |arg: &OsString| {
        let arg = arg.to_string_lossy();
        arg.strip_prefix(flag.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    match from_file.get(variable) {
        _ if args.iter().any(is_flag) => format!("flag {flag}"),
        Some(line) => format!("{ENV_FILE} line {line}"),
        None => "environment".to_owned(),
    }
}

/// The value as it may be shown: of an address, user and password are left out.
fn without_user(value: &str) -> String {
    let start = value.find("://").map(|at| at + "://".len());
    match value.rsplit_once('@') {
        Some((before, host)) if start.is_some() || (before.contains(':') && !before.contains('/')) => {
            format!("{}(hidden)@{host}", &value[..start.unwrap_or(0)])
        }
        _ => value.to_owned(),
    }
}

/// clap's error as one line that names the variable, where its value came from, and what it expects.
fn stop(error: clap::Error, command: &Command, origin: &dyn Fn(&str, &str) -> String) -> Stop {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Stop::Shown(error.render().to_string());
    }
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(all)) => Some(all.join(", ")),
        _ => None,
    };
    let named = text(ContextKind::InvalidArg).and_then(|shown| {
        let flag = shown.trim_start_matches("--").split([' ', '=', '[']).next()?.to_owned();
        let arg = command.get_arguments().find(|arg| arg.get_long() == Some(&flag))?;
        Some((arg.get_env()?.to_str()?.to_owned(), flag, arg.is_hide_env_values_set()))
    });
    let fatal = match (named, text(ContextKind::InvalidValue)) {
        (Some((variable, flag, is_secret)), Some(value)) => {
            let why = match (std::error::Error::source(&error), text(ContextKind::ValidValue)) {
                (Some(source), _) => source.to_string(),
                (None, Some(valid)) => format!("expected one of: {valid}"),
                (None, None) => "expected another value".to_owned(),
            };
            let value = if is_secret { "(hidden)".to_owned() } else { format!("{:?}", without_user(&value)) };
            Fatal::setting(&variable, format_args!("{value} ({}): {why}", origin(&variable, &flag)))
        }
        _ => {
            let rendered = error.render().to_string();
            let what = rendered.trim_start_matches("error: ").split("\n\nUsage").next().unwrap_or_default();
            let line = what.split_whitespace().collect::<Vec<_>>().join(" ");
            Fatal::new(Exit::Usage, format_args!("{line}; --help shows what there is"))
        }
    };
    Stop::Failed(fatal)
}

/// Reads a length of time: `90`, `90s`, `15m`, `12h`, `7d`, `1h 30m`; a bare number means seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let expected = "expected a length of time such as 30s, 15m, 12h or 7d";
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    let span: jiff::Span = text.parse().map_err(|_| expected)?;
    let signed: SignedDuration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| expected)?;
    Duration::try_from(signed).map_err(|_| expected.to_owned())
}

/// Reads a number of bytes: `1048576`, `512MiB`, `2GB`.
pub fn bytes(text: &str) -> Result<u64, String> {
    text.parse::<bytesize::ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| "expected a size such as 1048576, 512MiB or 2GB".to_owned())
}

/// Reads an address to listen on.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let hint = match text.rsplit_once(':').unwrap_or(("", text)) {
            ("" | "localhost", port) if port.parse::<u16>().is_ok() => format!("; did you mean 127.0.0.1:{port}?"),
            _ => String::new(),
        };
        format!("expected an IP address and a port, such as 127.0.0.1:8080 or [::]:8080{hint}")
    })
}

/// Checks that `KNOWN` has every variable of this program; for a test in each product.
pub fn unlisted<T: CommandFactory>() -> Vec<String> {
    let names = variables(&T::command()).into_iter().map(|(_, variable)| variable);
    names.filter(|variable| !KNOWN.contains(&variable.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser, Debug)]
    struct Cli {
        #[arg(long, env = "SPOOL_MAX_BYTES", value_parser = bytes, default_value = "1GiB")]
        spool_max_bytes: u64,
        #[arg(long, env = "MQTT_SESSION_EXPIRY", value_parser = duration, default_value = "7d")]
        session_expiry: Duration,
    }

    fn run(args: &[&str]) -> Result<Parsed<Cli>, Stop> {
        let args = std::iter::once("test").chain(args.iter().copied()).map(OsString::from);
        parse_from(args, &BTreeMap::new())
    }

    fn line(args: &[&str]) -> String {
        match run(args) {
            Err(Stop::Failed(fatal)) => {
                assert_eq!(fatal.exit, Exit::Usage);
                fatal.message
            }
            _ => panic!("{args:?} was taken"),
        }
    }

    #[test]
    fn defaults_and_flags_are_read_with_their_sources() {
        let parsed = run(&["--spool-max-bytes", "2MiB"]).ok().unwrap();
        assert_eq!(parsed.cli.spool_max_bytes, 2 << 20);
        assert_eq!(parsed.cli.session_expiry, Duration::from_secs(7 * 86_400));
        let origins: Vec<_> = parsed.sources.iter().map(|source| source.origin).collect();
        assert_eq!(origins, ["flag", "default"]);
    }

    #[test]
    fn a_bad_value_names_the_variable_and_what_it_expects() {
        let message = line(&["--spool-max-bytes", "much"]);
        assert!(message.starts_with("SPOOL_MAX_BYTES: \"much\""), "{message}");
        assert!(message.contains("512MiB"), "{message}");
        assert!(line(&["--spool", "1"]).contains("--spool"));
    }

    #[test]
    fn a_refused_value_says_where_it_came_from() {
        assert!(line(&["--spool-max-bytes", "much"]).contains("(flag --spool-max-bytes)"));
        let from_file = BTreeMap::from([("SPOOL_MAX_BYTES".to_owned(), 3)]);
        for (args, expected) in
            [(&["--spool-max-bytes=1"][..], "flag --spool-max-bytes"), (&["--spool-max-bytes-more"], ".env line 3")]
        {
            let args: Vec<_> = args.iter().map(OsString::from).collect();
            assert_eq!(origin("SPOOL_MAX_BYTES", "spool-max-bytes", &args, &from_file), expected);
            assert_eq!(origin("OTHER", "other", &args, &from_file), "environment");
        }
    }

    #[test]
    fn a_password_within_an_address_is_never_shown() {
        for (value, shown) in [
            ("mqtt://u:secret@host:1883", "mqtt://(hidden)@host:1883"),
            ("mqtt://u:sec@ret@host", "mqtt://(hidden)@host"),
            ("u:secret@host", "(hidden)@host"),
            ("mqtt://host", "mqtt://host"),
            ("casa/#:1,x@y", "casa/#:1,x@y"),
            ("ana@example.com", "ana@example.com"),
        ] {
            assert_eq!(without_user(value), shown);
        }
    }

    #[test]
    fn an_address_without_an_ip_gets_a_hint() {
        assert!(address("127.0.0.1:8081").is_ok() && address("[::]:80").is_ok());
        for text in ["localhost:8081", ":8081", "8081"] {
            assert!(address(text).unwrap_err().ends_with("did you mean 127.0.0.1:8081?"), "{text}");
        }
        assert!(address("example.com:80").unwrap_err().ends_with("[::]:8080"));
    }

    #[test]
    fn lengths_of_time_have_units() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        for bad in ["", "soon", "-5s", "1.5.2s"] {
            assert!(duration(bad).is_err(), "{bad} was taken");
        }
    }
}
