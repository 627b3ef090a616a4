//! What a build depends on, and where it takes place.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use crate::Options;

/// Files and folders that decide what comes out, from the workspace's root.
const INPUTS: [&str; 8] = [
    "Cargo.toml",
    "Cargo.lock",
    "proto/Cargo.toml",
    "proto/build.rs",
    "proto/src",
    "proto/wakeline",
    "proto/client",
    "sdk-web",
];
/// Folders in them that do not.
const NOT_INPUTS: [&str; 5] = ["node_modules", "test", "tests", "benches", "target"];

/// The checkout that this program was compiled in.
pub(crate) fn workspace_root() -> anyhow::Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join("../..")
        .canonicalize()
        .with_context(|| format!("the sources are not at {} any more", here.display()))
}

/// A folder `wasm` in the target folder that cargo uses now.
pub(crate) fn default_target(root: &Path) -> anyhow::Result<PathBuf> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    // Cargo takes a relative one from the folder it is called in; so do we.
    Ok(std::path::absolute(target)?.join("wasm"))
}

/// Changes when anything changes that a build depends on.
pub(crate) fn fingerprint(root: &Path, options: &Options) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    hash.update(format!("{:?}", options.toolchain));
    for input in INPUTS {
        add(&mut hash, &root.join(input))?;
    }
    Ok(hex(&hash.finalize()))
}

/// Lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn add(hash: &mut Sha256, path: &Path) -> anyhow::Result<()> {
    let context = || path.display().to_string();
    if path.is_dir() {
        let mut entries = fs::read_dir(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(context)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if !NOT_INPUTS.iter().any(|name| entry.file_name() == *name) {
                add(hash, &entry.path())?;
            }
        }
    } else {
        let bytes = fs::read(path).with_context(context)?;
        hash.update(path.as_os_str().as_encoded_bytes());
        hash.update(bytes.len().to_le_bytes());
        hash.update(bytes);
    }
    Ok(())
}
