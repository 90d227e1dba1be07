//! Metabase's JDBC driver in a Java process, asked over its standard input.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use anyhow::{Context as _, bail, ensure};
use harness::PATIENCE;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::Result;

/// Where Debian's libxerial-sqlite-jdbc-java has it.
const JAR: &str = "/usr/share/java/sqlite-jdbc.jar";
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/metabase/Probe.java");
/// `nobody`: what Metabase's container runs as has nothing to do with the user that owns the database.
const FOREIGN_UID: &str = "65534";

/// The driver, ready to be started.
pub(super) struct Driver {
    /// Where its class and its log are.
    dir: PathBuf,
}

impl Driver {
    /// Puts what asks it into `dir`; none where Java or the driver is missing and may be.
    pub(super) fn prepare(dir: &Path) -> Result<Option<Self>> {
        static CLASS: OnceLock<std::result::Result<Vec<u8>, String>> = OnceLock::new();
        // The compiler comes with a runtime of its own.
        let mut javac = std::process::Command::new("javac");
        let found = javac.arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if found.is_err() || !Path::new(JAR).is_file() {
            harness::skipped("a JDK or sqlite-jdbc is not installed");
            return Ok(None);
        }
        let class = CLASS.get_or_init(|| compile().map_err(|error| format!("{error:#}")));
        let class = class.as_ref().map_err(|error| anyhow::anyhow!(error.clone()))?;
        // A tempfile directory is its owner's alone: another user must be able to read what is in it.
        fs::set_permissions(dir, Permissions::from_mode(0o755))?;
        fs::write(dir.join("Probe.class"), class)?;
        Ok(Some(Self { dir: dir.to_owned() }))
    }

    /// The driver as the user who runs the tests, on a database that nobody shields.
    pub(super) fn start(&self, database: &Path, details: &[&str]) -> Result<Probe> {
        self.spawn(Command::new("java"), database, details)
    }

    /// The driver as Metabase's container has it; none where this may not be arranged.
    pub(super) async fn start_shielded(&self, database: &Path, shield: Shield) -> Result<Option<Probe>> {
        let dir = database.parent().context("the database is in a directory")?;
        if !shield.possible(dir).await? {
            harness::skipped("only root can mount a directory read-only, and be another user");
            return Ok(None);
        }
        let mut command = shield.command(dir);
        command.arg("java");
        self.spawn(command, database, shield.details).map(Some)
    }

    fn spawn(&self, mut command: Command, database: &Path, details: &[&str]) -> Result<Probe> {
        let log = self.dir.join("probe.log");
        let stderr = File::options().create(true).append(true).open(&log)?;
        // Not UTC, as an owner may have set it: what we store must not be read as local time.
        command.args(["-Duser.timezone=America/Sao_Paulo", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Xmx64m"]);
        command.arg("-cp").arg(format!("{JAR}:{}", self.dir.display())).arg("Probe").arg(database).args(details);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).kill_on_drop(true);
        let mut child = command.spawn().context("java cannot be started")?;
        let (Some(commands), Some(answers)) = (child.stdin.take(), child.stdout.take()) else { bail!("no pipes") };
        Ok(Probe { commands, answers: BufReader::new(answers), log, _child: child })
    }
}

/// The one class of [`SOURCE`].
fn compile() -> Result<Vec<u8>> {
    let dir = tempfile::tempdir()?;
    let compiled = std::process::Command::new("javac").arg("-d").arg(dir.path()).arg(SOURCE).status()?;
    ensure!(compiled.success(), "{SOURCE} does not compile");
    Ok(fs::read(dir.path().join("Probe.class"))?)
}

/// How Metabase is told that it only reads: `read-only?` is Metabase's, and nothing to the driver; `open_mode` is the
/// driver's, SQLITE_OPEN_READONLY. Metabase passes on all that it is told.
pub(super) const READ_ONLY: [&str; 3] = ["limit_attached=0", "read-only?=true", "open_mode=1"];
/// The same without the driver's own: the file is opened for writing where that is possible.
pub(super) const READ_WRITE: [&str; 2] = ["limit_attached=0", "read-only?=true"];

/// What keeps Metabase from writing beside the database.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shield {
    /// The directory is mounted read-only, as with `:ro`.
    pub(super) mounted: bool,
    /// A user who owns none of it.
    pub(super) foreign: bool,
    /// What Metabase is told of the database.
    pub(super) details: &'static [&'static str],
}

impl Shield {
    /// Every way in which Metabase may be kept from writing: any one of them is enough.
    pub(super) const ALL: [Self; 6] = [
        Self { mounted: true, foreign: true, details: &READ_WRITE },
        Self { mounted: true, foreign: true, details: &READ_ONLY },
        Self { mounted: true, foreign: false, details: &READ_WRITE },
        Self { mounted: true, foreign: false, details: &READ_ONLY },
        Self { mounted: false, foreign: true, details: &READ_WRITE },
        Self { mounted: false, foreign: true, details: &READ_ONLY },
    ];

    async fn possible(self, dir: &Path) -> Result<bool> {
        let mut attempt = self.command(dir);
        attempt.arg("true").stdout(Stdio::null()).stderr(Stdio::null());
        Ok(attempt.status().await.is_ok_and(|status| status.success()))
    }

    /// What starts a program behind the shield: the program and its arguments are still to be added.
    fn command(self, dir: &Path) -> Command {
        let mut script = String::new();
        if self.mounted {
            script += "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && ";
        }
        script += "exec ";
        if self.foreign {
            script += &format!("setpriv --reuid {FOREIGN_UID} --regid {FOREIGN_UID} --clear-groups ");
        }
        script += "\"$@\"";
        // A mount namespace of its own: nothing of it is left when the process has ended.
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script]).arg(dir);
        command
    }
}

/// The running driver; dropping it kills it.
pub(super) struct Probe {
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    log: PathBuf,
    _child: Child,
}

impl Probe {
    /// All columns of all tables: table, name, declared type.
    pub(super) async fn columns(&mut self) -> Result<Vec<(String, String, String)>> {
        Ok(serde_json::from_value(self.ask("columns").await?)?)
    }

    /// Rows that a connection of its own reads.
    pub(super) async fn rows(&mut self, sql: &str) -> Result<Vec<Vec<Value>>> {
        Ok(self.table(sql).await?.1)
    }

    /// The JDBC types of a result's columns, and its rows.
    pub(super) async fn table(&mut self, sql: &str) -> Result<(Vec<String>, Vec<Vec<Value>>)> {
        let mut answer = self.ask(&format!("fresh {sql}")).await?;
        ensure!(answer["rows"].is_array(), "{sql}: {answer}");
        Ok((serde_json::from_value(answer["types"].take())?, serde_json::from_value(answer["rows"].take())?))
    }

    /// The answer to a command, which may be an error.
    pub(super) async fn ask(&mut self, command: &str) -> Result<Value> {
        // A command is a line; SQL may be written in several.
        let command = command.replace('\n', " ");
        self.commands.write_all(format!("{command}\n").as_bytes()).await.with_context(|| self.log())?;
        let mut line = String::new();
        timeout(PATIENCE, self.answers.read_line(&mut line)).await.context("the driver does not answer")??;
        serde_json::from_str(&line).with_context(|| format!("{command}: {line}\n{}", self.log()))
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}
