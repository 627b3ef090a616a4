//! From a compiled module and TypeScript to the files that are published and served.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use crate::{
    command::run,
    inputs::hex,
    node::Tools,
    sizes::{Sizes, write_compressed},
    snip::snip,
};

/// Syntax that the published scripts may use: Chrome 80, Firefox 80, Safari 14.
const SYNTAX: &str = "es2020";
/// WebAssembly features that compilers use by themselves, all in Chrome 85, Firefox 79, Safari 15.
const FEATURES: [&str; 6] = [
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
];
/// Modules that a page loads only where it needs them, each after those that it loads itself: source, name in the others' code, name of
/// the file.
const LAZY: [(&str, &str, &str); 7] = [
    ("capture.ts", "CAPTURE_FILE", "capture"),
    ("vitals.ts", "VITALS_FILE", "vitals"),
    ("links.ts", "LINKS_FILE", "links"),
    ("overlay.ts", "OVERLAY_FILE", "overlay"),
    ("tab.ts", "TAB_FILE", "tab"),
    ("settings.ts", "SETTINGS_FILE", "settings"),
    ("plain.ts", "PLAIN_FILE", "plain"),
];
/// Names of properties that only our own modules share: the same short ones stand for them in all scripts. Browsers, the wire and the
/// WebAssembly module know none of them.
const PRIVATE: [&str; 16] = [
    "address",
    "allowed",
    "client",
    "day",
    "durable",
    "failed",
    "forgotten",
    "fresh",
    "keep",
    "prefix",
    "queue",
    "routed",
    "safely",
    "settle",
    "sink",
    "turned",
];
/// Files of the package that are as they are in `sdk-web/npm`.
const AS_IS: [&str; 2] = ["package.json", "README.md"];

/// Writes `npm/`, `serve/` and `sizes.json` below `out_dir`; `work` is emptied and used on the way.
pub(crate) fn assemble(
    root: &Path,
    module: &Path,
    tools: &Tools,
    work: &Path,
    out_dir: &Path,
) -> anyhow::Result<Sizes> {
    let (npm, serve) = (out_dir.join("npm"), out_dir.join("serve"));
    for folder in [work, &npm, &serve] {
        fresh(folder)?;
    }
    let builder = Builder {
        loader: root.join("sdk-web/loader"),
        tools,
        work,
    };
    fs::write(builder.short_names(), "{}")?;

    let wasm = builder.shrink(module)?;
    let wasm_file = format!("sdk-{}.wasm", short_hash(&wasm));
    let mut lazy = Vec::new();
    let mut named = vec![
        define("WASM_FILE", &format!("./{wasm_file}")),
        define("VERSION", env!("CARGO_PKG_VERSION")),
    ];
    for (entry, name, stem) in LAZY {
        let script = builder.script(entry, "esm", &named)?;
        let file = format!("{stem}-{}.js", short_hash(&script));
        named.push(define(name, &format!("./{file}")));
        named.push(format!("--external:./{file}"));
        lazy.push((stem, file, script));
    }
    let sdk = builder.script("main.ts", "esm", &named)?;
    let sdk_file = format!("sdk-{}.js", short_hash(&sdk));
    let loader = builder.script("script.ts", "iife", &[define("SDK_FILE", &sdk_file)])?;
    let module = builder.script(
        "index.ts",
        "esm",
        &[
            define("SDK_FILE", &format!("./{sdk_file}")),
            format!("--external:./{sdk_file}"),
        ],
    )?;
    builder.types(&npm.join("types"))?;

    let sizes = Sizes {
        loader: write_compressed(&serve.join("wakeline.js"), &loader)?,
        glue: write_compressed(&serve.join(&sdk_file), &sdk)?,
        wasm: write_compressed(&serve.join(&wasm_file), &wasm)?,
        lazy: lazy
            .iter()
            .map(|(stem, file, script)| {
                Ok((
                    (*stem).to_owned(),
                    write_compressed(&serve.join(file), script)?,
                ))
            })
            .collect::<anyhow::Result<_>>()?,
    };
    for (_, file, script) in &lazy {
        fs::write(npm.join(file), script)?;
    }
    for (name, bytes) in [
        ("wakeline.mjs", &module),
        ("wakeline.js", &loader),
        (&sdk_file, &sdk),
        (&wasm_file, &wasm),
    ] {
        fs::write(npm.join(name), bytes)?;
    }
    for name in AS_IS {
        let from = root.join("sdk-web/npm").join(name);
        fs::copy(&from, npm.join(name)).with_context(|| from.display().to_string())?;
    }
    sizes.write(out_dir)?;
    Ok(sizes)
}

struct Builder<'a> {
    loader: PathBuf,
    tools: &'a Tools,
    work: &'a Path,
}

impl Builder<'_> {
    fn shrink(&self, module: &Path) -> anyhow::Result<Vec<u8>> {
        let snipped = self.work.join("snipped.wasm");
        fs::write(&snipped, snip(module)?)?;
        let small = self.work.join("sdk.wasm");
        run(self
            .tools
            .tool("binaryen/bin/wasm-opt")
            .args([
                "--low-memory-unused",
                "--zero-filled-memory",
                "-Oz",
                "--converge",
                "--reorder-locals",
            ])
            .args(FEATURES)
            .args([
                "--strip-debug",
                "--strip-producers",
                "--strip-target-features",
            ])
            .arg("-o")
            .arg(&small)
            .arg(&snipped))
        .context("wasm-opt")?;
        Ok(fs::read(small)?)
    }

    /// Bundles and minifies one of the loader's entry points.
    fn script(&self, entry: &str, format: &str, more: &[String]) -> anyhow::Result<Vec<u8>> {
        let out = self.work.join(entry).with_extension("out.js");
        run(self
            .tools
            .tool("esbuild/bin/esbuild")
            .env("NODE_PATH", self.tools.modules())
            .arg(self.loader.join("src").join(entry))
            .args([
                "--bundle",
                "--minify",
                "--charset=utf8",
                "--tsconfig-raw={}", // no "use strict"
                "--log-level=warning",
            ])
            .arg(format!("--target={SYNTAX}"))
            .arg(format!("--format={format}"))
            .arg(format!("--outfile={}", out.display()))
            .arg(format!("--mangle-props=^({})$", PRIVATE.join("|")))
            .arg(format!("--mangle-cache={}", self.short_names().display()))
            .args(more))
        .with_context(|| format!("bundle {entry}"))?;
        Ok(fs::read(out)?)
    }

    /// Which short name stands for which private one: each script adds those that it is the first to have.
    fn short_names(&self) -> PathBuf {
        self.work.join("names.json")
    }

    /// Checks the types of the loader and writes its declarations.
    fn types(&self, out: &Path) -> anyhow::Result<()> {
        run(self
            .tools
            .tool("typescript/bin/tsc")
            .arg("--project")
            .arg(&self.loader)
            .arg("--declarationDir")
            .arg(out))
        .context("check the loader's types")?;
        // What the package does not export is nobody's business.
        for entry in fs::read_dir(out)? {
            let path = entry?.path();
            if !path.ends_with("index.d.ts") && !path.ends_with("api.d.ts") {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn define(name: &str, value: &str) -> String {
    format!("--define:{name}={value:?}")
}

fn short_hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..8])
}

fn fresh(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())
}
