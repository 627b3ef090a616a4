//! `wakeline-bindings kotlin|python|swift LIBRARY OUT`

use std::path::PathBuf;

use clap::Parser;
use wakeline_bindings::{Language, generate_into};

/// Generates the foreign side of wakeline-mobile's calls.
#[derive(Parser)]
struct Arguments {
    /// For which language.
    language: Language,
    /// The shared library: `target/…/libwakeline_mobile.so`.
    library: PathBuf,
    /// The folder that they are written into.
    out: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    generate_into(arguments.language, &arguments.library, &arguments.out)
}
