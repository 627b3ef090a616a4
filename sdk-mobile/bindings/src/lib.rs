//! Generates the foreign side of `wakeline-mobile`'s calls from the library itself, which holds their description.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use uniffi_bindgen::bindings::{GenerateOptions, TargetLanguage, generate};

/// A language that bindings are generated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    /// For JNA, on the JVM and Android.
    Kotlin,
    /// For ctypes.
    Python,
    /// With the C header and the module map that it needs.
    Swift,
}

/// Writes the bindings of the shared library at `library` into the folder `out`, which is made if need be; existing files
/// are replaced.
pub fn generate_into(language: Language, library: &Path, out: &Path) -> Result<()> {
    ensure!(
        library.is_file(),
        "{} is not there: build it with `cargo build -p wakeline-mobile`",
        library.display()
    );
    let text = |path: PathBuf| {
        path.into_os_string()
            .into_string()
            .ok()
            .context("paths must be UTF-8")
    };
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../uniffi.toml");
    generate(GenerateOptions {
        languages: vec![match language {
            Language::Kotlin => TargetLanguage::Kotlin,
            Language::Python => TargetLanguage::Python,
            Language::Swift => TargetLanguage::Swift,
        }],
        source: text(library.to_owned())?.into(),
        out_dir: text(out.to_owned())?.into(),
        config_override: Some(text(config)?.into()),
        ..GenerateOptions::default()
    })
}
