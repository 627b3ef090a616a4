//! Packages from PyPI, for Python 3.

use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::process::Command;

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};

use crate::{cache, debian};

/// A Python that can import `packages`, such as `duckdb==1.4.2`. They are installed once, into the cache.
///
/// # Errors
/// If Python or pip is missing, or the packages are and may not be installed, with the command that allows it; or if that
/// fails.
pub fn python(packages: &[&str]) -> anyhow::Result<Command> {
    let mut hash = DefaultHasher::new();
    packages.hash(&mut hash);
    let name = format!("python-{:016x}", hash.finish());
    let cache = cache::folder()?;
    let installed = cache.join(&name);
    if !installed.is_dir() {
        if !debian::may_install() {
            bail!(
                "{packages:?} are missing: run `WAKELINE_TESTBED_INSTALL=1 cargo test --workspace` once; it has pip install \
                 them in {}",
                installed.display()
            );
        }
        fs::create_dir_all(&cache)?;
        // Several tests may need it at once.
        let lock = File::create(cache.join(format!("{name}.lock")))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        if !installed.is_dir() {
            let making = cache.join(format!("{name}.making"));
            if making.exists() {
                fs::remove_dir_all(&making)?;
            }
            fs::create_dir_all(&making)?;
            let mut command = vec![
                "python3", "-m", "pip", "install", "--quiet", "--target", ".",
            ];
            command.extend(packages);
            cache::run(&making, &[], &command).context("this needs Python 3 with pip")?;
            fs::rename(&making, &installed)?;
        }
    }
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", OsString::from(installed));
    Ok(command)
}
