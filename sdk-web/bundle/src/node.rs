//! The tools that come from npm, as the loader's lock file says.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use crate::{command::run, inputs::hex};

const NPM: &str = if cfg!(windows) { "npm.cmd" } else { "npm" };
/// What decides which packages are installed.
const MANIFESTS: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];
const MIN_NODE: u32 = 20;

/// Installed tools.
pub(crate) struct Tools {
    modules: PathBuf,
}

impl Tools {
    /// Where packages are.
    pub(crate) fn modules(&self) -> &Path {
        &self.modules
    }

    /// A tool by the path of its script in `node_modules`.
    pub(crate) fn tool(&self, script: &str) -> Command {
        let mut command = Command::new("node");
        command.arg(self.modules.join(script));
        command
    }
}

/// Installs the packages that `source` locks below `cache`, unless they are there.
pub(crate) fn install(source: &Path, cache: &Path) -> anyhow::Result<Tools> {
    check_node()?;
    let mut hash = Sha256::new();
    for name in MANIFESTS {
        let path = source.join(name);
        hash.update(fs::read(&path).with_context(|| path.display().to_string())?);
    }
    let folder = cache.join("npm");
    let tools = Tools {
        modules: folder.join("node_modules"),
    };
    let stamp = folder.join("installed");
    let wanted = hex(&hash.finalize());
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(tools);
    }
    fs::create_dir_all(&folder)?;
    for name in MANIFESTS {
        fs::copy(source.join(name), folder.join(name))?;
    }
    // No package's own scripts run: none is needed, and what is installed is what the lock file says.
    run(Command::new(NPM).current_dir(&folder).args([
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
    ]))
    .context("install the browser SDK's build tools")?;
    fs::write(&stamp, wanted)?;
    Ok(tools)
}

fn check_node() -> anyhow::Result<()> {
    let needed =
        || format!("the browser SDK is built with Node.js {MIN_NODE} or newer and its npm");
    let version = run(Command::new("node").arg("--version")).with_context(needed)?;
    let major = version.trim().trim_start_matches('v').split('.').next();
    if major
        .and_then(|major| major.parse().ok())
        .is_none_or(|major: u32| major < MIN_NODE)
    {
        bail!("{}; found {}", needed(), version.trim());
    }
    Ok(())
}
