//! Running other programs.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

/// Runs `command`; gives what it wrote to stdout.
///
/// # Errors
/// If it can't be started or fails: with all it wrote.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<String> {
    let line = format!("{command:?}");
    let output = command
        .output()
        .with_context(|| format!("can't run {line}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{}\n{stdout}{stderr}\n{line}", output.status);
    }
    Ok(stdout)
}

/// Finds a program as a shell does.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| is_file(path))
}

pub(crate) fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}
