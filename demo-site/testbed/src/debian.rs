//! Programs that come from Debian packages.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use anyhow::{Context as _, bail};

static INSTALLING: Mutex<()> = Mutex::new(());

/// Whether what is missing may be installed.
pub(crate) fn may_install() -> bool {
    std::env::var_os("WAKELINE_TESTBED_INSTALL").is_some_and(|value| value == "1")
}

/// Path of `program`, which `packages` contain; installs them if that is allowed.
pub(crate) fn program(program: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    if let Some(path) = find(program) {
        return Ok(path);
    }
    let command = format!(
        "apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    );
    if !may_install() {
        bail!(
            "{program} is missing. Install it with `{command}`, or set WAKELINE_TESTBED_INSTALL=1 to have that done"
        );
    }
    let _one = INSTALLING
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(path) = find(program) {
        return Ok(path); // another test was quicker
    }
    for arguments in [
        vec!["update"],
        [&["install", "-y", "--no-install-recommends"], packages].concat(),
    ] {
        let output = Command::new("apt-get")
            .args(&arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .output()
            .with_context(|| {
                format!(
                    "{program} is missing and apt-get can't be run; install {packages:?} by hand"
                )
            })?;
        if !output.status.success() {
            bail!(
                "apt-get {} failed: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
    find(program).with_context(|| format!("`{command}` did not bring {program}"))
}

pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|candidate| is_file(candidate))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}
