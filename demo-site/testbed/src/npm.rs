//! Packages from npm, as a lock file says.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::Path,
};

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::cache;

const NPM: &str = if cfg!(windows) { "npm.cmd" } else { "npm" };
/// What decides which packages are installed.
const MANIFESTS: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];

/// A copy of the folder `project` in which the packages that it locks can be imported. They are installed once, into the
/// cache; none of their own scripts run.
///
/// # Errors
/// If npm is missing or fails, or a file can't be read or written.
pub fn npm_project(project: &Path) -> anyhow::Result<TempDir> {
    let mut hash = DefaultHasher::new();
    for name in MANIFESTS {
        let path = project.join(name);
        let manifest = fs::read(&path).with_context(|| path.display().to_string())?;
        manifest.hash(&mut hash);
    }
    let name = format!("npm-{:016x}", hash.finish());
    let cache = cache::folder()?;
    let installed = cache.join(&name);
    if !installed.is_dir() {
        fs::create_dir_all(&cache)?;
        // Several tests may need it at once.
        let lock = File::create(cache.join(format!("{name}.lock")))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        if !installed.is_dir() {
            install(project, &cache.join(format!("{name}.making")), &installed)?;
        }
    }
    let copy = TempDir::new()?;
    copy_folder(project, copy.path())?;
    std::os::unix::fs::symlink(
        installed.join("node_modules"),
        copy.path().join("node_modules"),
    )?;
    Ok(copy)
}

/// Installs in the folder `making`, which takes the name `made` once it is whole.
fn install(project: &Path, making: &Path, made: &Path) -> anyhow::Result<()> {
    if making.exists() {
        fs::remove_dir_all(making)?;
    }
    fs::create_dir_all(making)?;
    for name in MANIFESTS {
        fs::copy(project.join(name), making.join(name))?;
    }
    let command = [NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund"];
    cache::run(making, &[], &command).context("npm comes with Node.js 20 or newer")?;
    Ok(fs::rename(making, made)?)
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if !entry.file_type()?.is_dir() {
            fs::copy(entry.path(), target)?;
        } else if entry.file_name() != "node_modules" {
            copy_folder(&entry.path(), &target)?;
        }
    }
    Ok(())
}
