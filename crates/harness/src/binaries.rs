//! Builds the two products with the profile of the running program, and finds them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, bail};

/// How the variables begin that cargo sets for a package that it runs.
const PACKAGE_VARIABLES: [&str; 2] = ["CARGO_PKG_", "CARGO_MANIFEST_"];

/// Where the two products are.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `ponte-api`
    pub api: PathBuf,
    /// `ponte-subscriber`
    pub subscriber: PathBuf,
}

/// The products, built once a process: a test never runs against a stale one.
pub fn binaries() -> anyhow::Result<&'static Binaries> {
    static BUILT: OnceLock<Result<Binaries, String>> = OnceLock::new();
    BUILT
        .get_or_init(|| build().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|error| anyhow::anyhow!(error.clone()))
}

fn build() -> anyhow::Result<Binaries> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "ponte-api", "--package", "ponte-subscriber"]);
    // What cargo tells a running test of its package would make ring's build script, and all above it, run anew.
    let ours = |name: &OsString| {
        name.to_str().is_some_and(|name| PACKAGE_VARIABLES.iter().any(|start| name.starts_with(start)))
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let status = command.current_dir(env!("CARGO_MANIFEST_DIR")).status().context("cargo cannot be run")?;
    if !status.success() {
        bail!("the products do not build");
    }
    let dir = profile_dir()?;
    let binaries = Binaries { api: dir.join("ponte-api"), subscriber: dir.join("ponte-subscriber") };
    for path in [&binaries.api, &binaries.subscriber] {
        if !path.is_file() {
            bail!("{} is not there after the build", path.display());
        }
    }
    Ok(binaries)
}

/// `target/debug` or `target/release`: the running program is in it, or in its `deps`.
fn profile_dir() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("the running program's path")?;
    let dir = program.parent().context("the running program's directory")?;
    let dir = if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir };
    Ok(Path::new(dir).to_owned())
}
