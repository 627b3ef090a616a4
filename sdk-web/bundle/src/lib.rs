//! Builds the Wakeline npm package, and the files that a collector serves, from Rust and TypeScript.
//!
//! [`build`] compiles `wakeline-sdk-web` for `wasm32`, shrinks the WebAssembly (`snip`, wasm-opt),
//! type-checks and bundles the loader (tsc, esbuild) and compresses the results. It runs when a program
//! starts or in a test, never in a build script: cargo would wait there for its own lock.
//!
//! ```text
//! out_dir/
//!   npm/    package.json, README.md, wakeline.mjs, types/, and what is served
//!   serve/  wakeline.js, sdk-<hash>.js, sdk-<hash>.wasm, and modules that only some pages load; each with its .br and .gz
//!   sizes.json
//! ```
//! Names with a hash never change what they hold; `wakeline.js` names them.

mod assemble;
mod command;
mod inputs;
mod node;
mod sizes;
mod snip;
mod wasm;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

pub use sizes::{Size, Sizes};
pub use wasm::Toolchain;

/// How to build.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where cargo and npm keep what makes the next build quick. Default: a folder `wasm` in the cargo target folder.
    pub target_dir: Option<PathBuf>,
    /// What compiles for `wasm32`. Default: the first that works.
    pub toolchain: Option<Toolchain>,
}

/// What was built.
#[derive(Clone, Debug)]
pub struct Package {
    /// The npm package.
    pub npm: PathBuf,
    /// Files for a collector's `sdk.dir`.
    pub serve: PathBuf,
    /// What users download.
    pub sizes: Sizes,
    /// False if nothing had changed since the last build.
    pub rebuilt: bool,
}

/// Builds the package into `out_dir`, unless it is there and nothing has changed since.
///
/// Several processes may call this at a time: they wait for each other.
///
/// # Errors
/// If a tool is missing (the message says what to install) or fails.
pub fn build(out_dir: &Path, options: &Options) -> anyhow::Result<Package> {
    let root = inputs::workspace_root()?;
    let target = options
        .target_dir
        .clone()
        .map_or_else(|| inputs::default_target(&root), Ok)?;
    let fingerprint = inputs::fingerprint(&root, options)?;
    let stamp = out_dir.join("fingerprint");
    // Written last and removed first: if it fits, all is there.
    let found = || {
        let fits = fs::read_to_string(&stamp).is_ok_and(|found| found == fingerprint);
        fits.then(|| Sizes::read(out_dir).ok()).flatten()
    };
    let package = |sizes, rebuilt| Package {
        npm: out_dir.join("npm"),
        serve: out_dir.join("serve"),
        sizes,
        rebuilt,
    };
    if let Some(sizes) = found() {
        return Ok(package(sizes, false));
    }
    for folder in [&*target, out_dir] {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let _one = lock(&target.join("bundle.lock"))?;
    if let Some(sizes) = found() {
        return Ok(package(sizes, false)); // another process was quicker
    }
    let _ = fs::remove_file(&stamp);
    let module = wasm::compile(&root, &target, options.toolchain)?;
    let tools = node::install(&root.join("sdk-web/loader"), &target)?;
    let sizes = assemble::assemble(&root, &module, &tools, &target.join("assemble"), out_dir)?;
    fs::write(&stamp, fingerprint)?;
    Ok(package(sizes, true))
}

/// Waits until no other process builds in this target folder. Released when the file is closed.
fn lock(path: &Path) -> anyhow::Result<fs::File> {
    let file = fs::File::create(path).with_context(|| path.display().to_string())?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(file)
}
