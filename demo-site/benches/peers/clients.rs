//! The clients, built as a site's bundler builds them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;
use wakeline_testbed::npm_project;

/// The first has no dependency that esbuild could bundle; `empty` is a page without a client.
const NAMES: [&str; 8] = [
    "wakeline",
    "snowplow",
    "segment",
    "posthog",
    "posthog-lite",
    "plausible",
    "openpanel",
    "empty",
];

pub(crate) struct Client {
    pub(crate) name: &'static str,
    /// By brotli, quality 11.
    pub(crate) script_bytes: usize,
}

/// Built pages, in a folder.
pub(crate) struct Pages {
    pub(crate) clients: Vec<Client>,
    project: TempDir,
    /// Wakeline's package.
    pub(crate) npm: PathBuf,
}

impl Pages {
    pub(crate) fn build() -> anyhow::Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
        let project = npm_project(&here)?;
        let sdk = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wakeline-sdk");
        let package = wakeline_bundle::build(&sdk, &wakeline_bundle::Options::default())?;
        let mut clients = Vec::new();
        for name in NAMES {
            let built = project.path().join(format!("{name}.js"));
            bundle(project.path(), name, &built)?;
            let script = std::fs::read(&built)?;
            clients.push(Client {
                name,
                script_bytes: match name {
                    "wakeline" => package.sizes.brotli(),
                    _ => brotli(&script)?,
                },
            });
        }
        Ok(Self {
            clients,
            project,
            npm: package.npm,
        })
    }

    pub(crate) fn script(&self, name: &str) -> PathBuf {
        self.project.path().join(format!("{name}.js"))
    }
}

fn bundle(project: &Path, name: &str, out: &Path) -> anyhow::Result<()> {
    let status = Command::new("node")
        .current_dir(project)
        .args(["node_modules/esbuild/bin/esbuild", "pages/page.js"])
        .args(["--bundle", "--minify", "--format=esm", "--log-level=error"])
        .args(["--target=es2022", "--external:/npm/*"])
        .arg(format!("--alias:client=./pages/{name}.js"))
        .arg(format!("--outfile={}", out.display()))
        .status()
        .context("Node.js 20 or newer")?;
    ensure!(status.success(), "esbuild: {name}");
    Ok(())
}

fn brotli(bytes: &[u8]) -> anyhow::Result<usize> {
    let mut out = Vec::new();
    let params = brotli::enc::BrotliEncoderParams {
        quality: 11,
        size_hint: bytes.len(),
        ..Default::default()
    };
    brotli::BrotliCompress(&mut &bytes[..], &mut out, &params)?;
    Ok(out.len())
}
