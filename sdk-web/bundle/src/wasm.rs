//! Compiles the client's core for `wasm32`.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use crate::command::{find, is_file, run};

const TARGET: &str = "wasm32-unknown-unknown";
const CRATE: &str = "wakeline-sdk-web";
/// Debian packages that compile for `wasm32` where rustup can't add the target.
const PACKAGES: [&str; 4] = ["rustc-web", "rust-web-src", "cargo-web", "lld-22"];

/// What compiles for `wasm32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The compiler in use, with its `wasm32-unknown-unknown` target: `rustup target add` is tried if it is missing.
    Rustup,
    /// Debian's `rustc-web`, which has no standard library for `wasm32`: that is compiled, too.
    Debian,
}

/// Compiles; gives the path of the `.wasm` file.
pub(crate) fn compile(
    root: &Path,
    target_dir: &Path,
    toolchain: Option<Toolchain>,
) -> anyhow::Result<PathBuf> {
    let mut command = match toolchain {
        Some(Toolchain::Rustup) => rustup()?,
        Some(Toolchain::Debian) => debian()?,
        None => rustup().or_else(|why| debian().with_context(|| missing(&why)))?,
    };
    command
        .current_dir(root)
        .args(["build", "--profile", "wasm", "-p", CRATE])
        .args(["--target", TARGET, "--target-dir"])
        .arg(target_dir);
    run(&mut command).context("compile the browser SDK")?;
    let file = target_dir.join(TARGET).join("wasm/wakeline_sdk_web.wasm");
    if !is_file(&file) {
        bail!("cargo made no {}", file.display());
    }
    Ok(file)
}

fn missing(why: &anyhow::Error) -> String {
    format!(
        "the browser SDK needs a Rust compiler for {TARGET}: run `rustup target add {TARGET}` (tried: {why:#}), or on \
         Debian, as root, `apt-get install -y --no-install-recommends {}`",
        PACKAGES.join(" ")
    )
}

/// Cargo of the compiler in use.
fn rustup() -> anyhow::Result<Command> {
    if !has_target()? {
        run(Command::new("rustup").args(["target", "add", TARGET]))?;
        if !has_target()? {
            bail!("rustup added {TARGET} to another toolchain than the one in use");
        }
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Ok(clean(cargo, &[]))
}

fn has_target() -> anyhow::Result<bool> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let folder = run(Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]))?;
    Ok(Path::new(folder.trim()).is_dir())
}

/// Debian's cargo, told to compile the standard library, which needs an unstable option of a stable compiler.
fn debian() -> anyhow::Result<Command> {
    let (cargo, rustc) = (Path::new("/usr/bin/cargo"), Path::new("/usr/bin/rustc"));
    let source = Path::new("/usr/lib/rustlib/src/rust/library/std/Cargo.toml");
    let there = || {
        let linker = find("wasm-ld").or_else(|| find("wasm-ld-22"))?;
        (is_file(cargo) && is_file(rustc) && is_file(source)).then_some(linker)
    };
    let linker = if let Some(linker) = there() {
        linker
    } else {
        install()?;
        there().context("the packages did not bring what was expected of them")?
    };
    let mut command = clean(cargo.into(), &["RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER"]);
    command
        .args(["-Zbuild-std=std,panic_abort"])
        .args(["-Zbuild-std-features=optimize_for_size"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", rustc)
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    Ok(command)
}

fn install() -> anyhow::Result<()> {
    let root = rustix::process::geteuid().is_root();
    if !root || env::var_os("WAKELINE_TESTBED_INSTALL").is_none_or(|value| value != "1") {
        bail!("Debian's packages are not installed");
    }
    let apt_get = |arguments: &[&str]| {
        run(Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt_get(&["update"])?;
    apt_get(&[&["install", "-y", "--no-install-recommends"][..], &PACKAGES].concat())?;
    Ok(())
}

/// Cargo without what an outer cargo, whose child we may be, has set for the crate it runs, and without flags that
/// were meant for this machine.
fn clean(cargo: OsString, without: &[&str]) -> Command {
    const OUTER: [&str; 6] = [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CRATE_",
        "CARGO_PRIMARY_PACKAGE",
        "CARGO_ENCODED_RUSTFLAGS",
    ];
    const FLAGS: [&str; 5] = [
        "CARGO",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
        "LD_LIBRARY_PATH",
        "RUSTFLAGS",
    ];
    let mut command = Command::new(cargo);
    for (name, _) in env::vars_os() {
        let outer = name
            .to_str()
            .is_some_and(|name| OUTER.iter().any(|prefix| name.starts_with(prefix)));
        if outer {
            command.env_remove(name);
        }
    }
    for name in FLAGS.iter().chain(without) {
        command.env_remove(name);
    }
    command
}
