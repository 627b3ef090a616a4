//! Builds the dashboard and lists its files in `$OUT_DIR/assets.rs`, which the API embeds.
//!
//! Everything is written below `OUT_DIR`, the npm packages too, so builds with different target folders or profiles
//! don't meet. npm runs only when the lock file changed.

use std::error::Error;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The oldest Node.js whose features `build.mjs` uses.
const NODE_MAJOR: u32 = 20;
const NPM: &str = if cfg!(windows) { "npm.cmd" } else { "npm" };
/// What decides which packages are installed.
const MANIFESTS: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in error.to_string().lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    for name in MANIFESTS
        .iter()
        .chain(&["src", "build.mjs", "tsconfig.json"])
    {
        println!("cargo::rerun-if-changed=dashboard/{name}");
    }
    let source = PathBuf::from(env("CARGO_MANIFEST_DIR")?).join("dashboard");
    let out = PathBuf::from(env("OUT_DIR")?);

    check_node()?;
    let modules = install(&source, &out.join("npm"))?;
    let site = out.join("dashboard");
    run(Command::new("node")
        .arg(source.join("build.mjs"))
        .arg("--outdir")
        .arg(&site)
        .arg("--modules")
        .arg(&modules))?;
    write_assets(&site, &out)
}

fn env(name: &str) -> Result<String> {
    std::env::var(name).map_err(|error| format!("{name}: {error}").into())
}

fn check_node() -> Result<()> {
    let needs = format!("the dashboard is built with Node.js {NODE_MAJOR} or newer and its npm");
    let version = Command::new("node")
        .arg("--version")
        .output()
        .map_err(|error| format!("{needs}; `node` does not start: {error}"))?;
    let version = String::from_utf8_lossy(&version.stdout);
    let version = version.trim();
    let major = version.trim_start_matches('v').split('.').next();
    if major
        .and_then(|major| major.parse().ok())
        .is_none_or(|major: u32| major < NODE_MAJOR)
    {
        return Err(format!("{needs}; found node {version}").into());
    }
    Command::new(NPM)
        .arg("--version")
        .output()
        .map_err(|error| format!("{needs}; `{NPM}` does not start: {error}"))?;
    Ok(())
}

/// Installs the locked packages into `folder`, unless they are there; gives their folder.
fn install(source: &Path, folder: &Path) -> Result<PathBuf> {
    let modules = folder.join("node_modules");
    let stamp = folder.join("installed");
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    for name in MANIFESTS {
        hash.update(&read(&source.join(name))?);
    }
    let wanted = format!("{:032x}", hash.digest128());
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(modules);
    }
    fs::create_dir_all(folder)?;
    for name in MANIFESTS {
        fs::write(folder.join(name), read(&source.join(name))?)?;
    }
    // No package's own scripts run: none is needed, and what is built is what the lock file says.
    run(Command::new(NPM).current_dir(folder).args([
        "ci",
        "--omit=dev",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--no-progress",
    ]))?;
    fs::write(&stamp, wanted)?;
    Ok(modules)
}

/// Compresses the files of `site` and writes the table of them.
fn write_assets(site: &Path, out: &Path) -> Result<()> {
    let zipped = out.join("dashboard-gzip");
    if zipped.exists() {
        fs::remove_dir_all(&zipped)?;
    }
    fs::create_dir(&zipped)?;
    let mut table = String::from("static ASSETS: &[Asset] = &[\n");
    for (path, file) in files(site)? {
        let identity = read(&file)?;
        let hash = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&identity));
        let gzip = zipped.join(&hash);
        let mut encoder =
            flate2::write::GzEncoder::new(fs::File::create(&gzip)?, flate2::Compression::best());
        encoder.write_all(&identity)?;
        encoder.finish()?;
        // Names in /assets/ contain a hash of what is in them.
        let immutable = path.starts_with("/assets/");
        writeln!(
            table,
            "    Asset {{ path: {path:?}, content_type: {:?}, etag: {:?}, immutable: {immutable}, \
             identity: include_bytes!({:?}), gzip: include_bytes!({:?}) }},",
            content_type(&file)?,
            format!("\"{hash}\""),
            text(&file)?,
            text(&gzip)?,
        )?;
    }
    table.push_str("];\n");
    fs::write(out.join("assets.rs"), table)?;
    Ok(())
}

/// The files of the dashboard as (URL path, file), in order of path. `index.html` is `/`.
fn files(site: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut files = vec![("/".to_owned(), site.join("index.html"))];
    for entry in fs::read_dir(site.join("assets"))? {
        let file = entry?.path();
        let name = text(Path::new(file.file_name().unwrap_or_default()))?;
        files.push((format!("/assets/{name}"), file));
    }
    files.sort();
    Ok(files)
}

fn content_type(file: &Path) -> Result<&'static str> {
    match file.extension().and_then(OsStr::to_str) {
        Some("html") => Ok("text/html; charset=utf-8"),
        Some("css") => Ok("text/css; charset=utf-8"),
        Some("js") => Ok("text/javascript; charset=utf-8"),
        Some("svg") => Ok("image/svg+xml"),
        _ => Err(format!("{}: no content type is known for it", file.display()).into()),
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .ok_or_else(|| format!("{}: not UTF-8", path.display()).into())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).map_err(|error| format!("{}: {error}", file.display()).into())
}

/// Runs a command to its end; what it says becomes part of the error if it fails.
fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?} does not start: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?} failed ({})\n{}", output.status, said.trim()).into())
}
