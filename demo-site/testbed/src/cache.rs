//! What no Debian package has, made once in a folder outside the checkout: `WAKELINE_CACHE`, or
//! `~/.cache/wakeline`.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};

use crate::debian;

/// The cache's folder.
///
/// # Errors
/// If nothing says where it is.
pub fn folder() -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("WAKELINE_CACHE") {
        return Ok(folder.into());
    }
    let home = std::env::var_os("HOME").context("neither WAKELINE_CACHE nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache/wakeline"))
}

/// The program in the cache's folder `name`. If it is not there and may be installed, `build` makes it in a folder that
/// takes that name once it is whole.
///
/// # Errors
/// If it is not there and may not be built, with the command that allows it; or if building fails.
pub(crate) fn program(
    name: &str,
    program: &str,
    build: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    let cache = folder()?;
    let (made, path) = (cache.join(name), cache.join(name).join(program));
    if path.is_file() {
        return Ok(path);
    }
    if !debian::may_install() {
        bail!(
            "{} is missing: run `WAKELINE_TESTBED_INSTALL=1 cargo test --workspace` once; it builds {name} from its \
             Go module, which takes Go, Rust, a C compiler and about ten minutes",
            path.display()
        );
    }
    std::fs::create_dir_all(&cache)?;
    // Several tests may need it at once.
    let lock = File::create(cache.join(format!("{name}.lock")))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    if path.is_file() {
        return Ok(path);
    }
    let making = cache.join(format!("{name}.making"));
    if making.exists() {
        std::fs::remove_dir_all(&making)?;
    }
    std::fs::create_dir_all(&making)?;
    build(&making).with_context(|| format!("build {name} in {}", making.display()))?;
    std::fs::rename(&making, &made)?;
    Ok(path)
}

/// Runs a command in a folder.
///
/// # Errors
/// If it fails; with what it printed.
pub(crate) fn run(folder: &Path, env: &[(&str, &Path)], command: &[&str]) -> anyhow::Result<()> {
    let (program, arguments) = command.split_first().context("no command")?;
    let mut command_line = Command::new(program);
    // What cargo tells tests, and where it builds them, is not for builds of other programs.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO") && name != "CARGO_HOME" {
            command_line.env_remove(&*name);
        }
    }
    let output = command_line
        .args(arguments)
        .envs(env.iter().copied())
        .current_dir(folder)
        .output()
        .with_context(|| format!("run {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let end = said.chars().count().saturating_sub(3_000);
        let end: String = said.chars().skip(end).collect();
        bail!("{}: {}\n{end}", command.join(" "), output.status);
    }
    Ok(())
}
