//! What tests build from the checkout by other means than cargo, kept in the target folder until its sources change.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hasher as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};

/// Written once a folder is whole.
const DONE: &str = ".done";
/// Folders that other programs leave in sources.
const LEFTOVERS: [&str; 6] = [
    "target",
    "build",
    ".build",
    ".gradle",
    "__pycache__",
    ".pytest_cache",
];

/// The folder beside the test's own binaries in which that is kept.
pub(crate) fn folder() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let profile = test.parent().and_then(Path::parent);
    let folder = profile
        .context("the test is not in a target folder")?
        .join("packages");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The folder `name` as `make` makes it of `sources`, files or folders; made anew once one of them is another.
///
/// # Errors
/// If a source can't be read, or `make` fails.
pub(crate) fn built(
    name: &str,
    sources: &[&Path],
    make: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    let all = folder()?;
    kept(&all, name, sources, |path| {
        for entry in fs::read_dir(&all)? {
            let old = entry?.path();
            let version = old
                .file_name()
                .and_then(|old| old.to_str()?.strip_prefix(name));
            if old != path && version.is_some_and(|version| version.starts_with('-')) {
                fs::remove_dir_all(&old)?;
            }
        }
        make(path)
    })
}

/// The same in the folder `all`, where what was made of other sources stays.
///
/// # Errors
/// If a source can't be read, or `make` fails.
pub(crate) fn kept(
    all: &Path,
    name: &str,
    sources: &[&Path],
    make: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    let mut hash = DefaultHasher::new();
    for source in sources {
        add(&mut hash, source).with_context(|| source.display().to_string())?;
    }
    let folder = format!("{name}-{:016x}", hash.finish());
    let path = all.join(&folder);
    fs::create_dir_all(all)?;
    // Several tests may need it at once.
    let lock = File::create(all.join(format!("{name}.lock")))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    if path.join(DONE).is_file() {
        return Ok(path);
    }
    if path.is_dir() {
        fs::remove_dir_all(&path)?; // it was not finished
    }
    fs::create_dir_all(&path)?;
    make(&path).with_context(|| format!("build {folder}"))?;
    File::create(path.join(DONE))?;
    Ok(path)
}

fn add(hash: &mut DefaultHasher, source: &Path) -> anyhow::Result<()> {
    if source.is_file() {
        hash.write(&fs::read(source)?);
        return Ok(());
    }
    for entry in entries(source)? {
        hash.write(entry.to_string_lossy().as_bytes());
        add(hash, &source.join(entry))?;
    }
    Ok(())
}

/// Copies a folder, but for what other programs left in it.
pub(crate) fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for name in entries(from)? {
        let (source, target) = (from.join(&name), to.join(&name));
        if source.is_dir() {
            copy(&source, &target)?;
        } else {
            fs::copy(&source, &target).with_context(|| source.display().to_string())?;
        }
    }
    Ok(())
}

/// The names of what is in a folder, in order.
fn entries(folder: &Path) -> anyhow::Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let name = entry?.file_name();
        if !LEFTOVERS.iter().any(|leftover| name == *leftover) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
