//! The packages of the mobile SDK, built as their READMEs say and used from outside.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use crate::{built, cache, debian};

/// The SDK's folder in the checkout.
///
/// # Errors
/// If it is not there.
pub fn mobile_sdk() -> anyhow::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk-mobile");
    folder
        .canonicalize()
        .with_context(|| folder.display().to_string())
}

/// The shared library that cargo built with the running test.
///
/// # Errors
/// If it was not built.
pub fn mobile_library() -> anyhow::Result<PathBuf> {
    let name = format!(
        "{}wakeline_mobile{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    let test = std::env::current_exe()?;
    let deps = test.parent().context("the test is in no folder")?;
    // Cargo puts it beside the binaries only if it is asked for; what tests use is always here.
    for folder in [Some(deps), deps.parent()].into_iter().flatten() {
        let library = folder.join(&name);
        if library.is_file() {
            return Ok(library);
        }
    }
    bail!("{name} is missing: run `cargo test --workspace`")
}

/// The Kotlin library and its example, built by Maven.
pub struct Kotlin {
    folder: PathBuf,
    maven: Vec<String>,
}

impl Kotlin {
    /// Builds them with these bindings, if they are not.
    ///
    /// # Errors
    /// If Java or Maven are missing, with the command that installs them; or if building fails.
    pub fn build(bindings: &Path) -> anyhow::Result<Self> {
        let packages = ["default-jdk-headless", "maven"];
        debian::program("java", &packages)?;
        let maven = debian::program("mvn", &packages)?;
        let repository = cache::folder()?.join("maven");
        let maven = vec![
            maven.to_string_lossy().into_owned(),
            "--quiet".to_owned(),
            "--batch-mode".to_owned(),
            format!("-Dmaven.repo.local={}", repository.display()),
        ];
        let sdk = mobile_sdk()?;
        let (library, example) = (sdk.join("kotlin"), sdk.join("examples/kotlin"));
        let sources: [&Path; 3] = [&library, &example, bindings];
        let folder = built::built("kotlin", &sources, |folder| {
            built::copy(&library, &folder.join("kotlin"))?;
            built::copy(&example, &folder.join("examples/kotlin"))?;
            let target = folder.join("kotlin/target/bindings");
            built::copy(bindings, &target)?;
            let package = ["-DskipTests", "package"].map(str::to_owned);
            let command = [maven.as_slice(), &package].concat();
            let command: Vec<&str> = command.iter().map(String::as_str).collect();
            cache::run(&folder.join("kotlin"), &[], &command)
        })?;
        Ok(Self { folder, maven })
    }

    /// A program of the example or of the library's tests, by the name of its main class.
    ///
    /// # Errors
    /// If the library was not built.
    pub fn program(&self, main: &str) -> anyhow::Result<Command> {
        let class_path = [
            "examples/kotlin/target/classes",
            "kotlin/wakeline/target/test-classes",
            "kotlin/wakeline/target/classes",
            "examples/kotlin/target/libs/*",
        ]
        .map(|part| self.folder.join(part));
        let mut command = Command::new("java");
        command
            .arg(library_path()?)
            .arg("-cp")
            .arg(std::env::join_paths(class_path)?)
            .arg(main);
        Ok(command)
    }

    /// Runs the library's `JUnit` tests, or those of that name.
    ///
    /// # Errors
    /// If the library was not built.
    pub fn tests(&self, which: Option<&str>) -> anyhow::Result<Command> {
        let (maven, arguments) = self.maven.split_first().context("no command")?;
        let mut command = Command::new(maven);
        command
            .args(arguments)
            .args(["-pl", "wakeline", "surefire:test"])
            .arg(format!("-DargLine={}", library_path()?))
            .args(which.map(|which| format!("-Dtest={which}")))
            .current_dir(self.folder.join("kotlin"));
        Ok(command)
    }
}

/// Where JNA looks for the library.
fn library_path() -> anyhow::Result<String> {
    let library = mobile_library()?;
    let folder = library.parent().context("the library is in no folder")?;
    Ok(format!("-Djna.library.path={}", folder.display()))
}

/// The Python package in a virtual environment of its own, with pytest. What maturin puts into the wheel is put there
/// without it, so that the library is not built twice.
pub struct Python {
    program: PathBuf,
}

impl Python {
    /// Makes the environment with these bindings, if it is not there.
    ///
    /// # Errors
    /// If Python is missing, with the command that installs it; or if a step fails.
    pub fn build(bindings: &Path) -> anyhow::Result<Self> {
        let package = mobile_sdk()?.join("python");
        let python = debian::program("python3", &["python3", "python3-venv"])?;
        let tools = tools(&python, &package.join("requirements-test.txt"))?;
        let library = mobile_library()?;
        let sources: [&Path; 3] = [&package, &library, bindings];
        let folder = built::built("python", &sources, |folder| {
            let environment = folder.join("venv");
            let made = [text(&python)?, "-m", "venv", "--without-pip", "venv"];
            cache::run(folder, &[], &made)?;
            let program = environment.join("bin/python");
            let wheels = tools.join("wheels");
            let into = ["--python", text(&program)?, "install"];
            let from = ["--no-index", "--find-links", text(&wheels)?, "pytest"];
            pip(folder, &tools, &[into.as_slice(), &from].concat())?;
            install(&package, &library, bindings, &environment)
        })?;
        Ok(Self {
            program: folder.join("venv/bin/python"),
        })
    }

    /// The environment's interpreter.
    pub fn program(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

/// Puts the package where the environment finds it.
fn install(
    package: &Path,
    library: &Path,
    bindings: &Path,
    environment: &Path,
) -> anyhow::Result<()> {
    let mut versions = fs::read_dir(environment.join("lib"))?;
    let version = versions.next().context("an empty environment")??.path();
    let installed = version.join("site-packages/wakeline");
    built::copy(&package.join("src/wakeline"), &installed)?;
    let calls = installed.join("_ffi");
    built::copy(bindings, &calls)?;
    fs::write(calls.join("__init__.py"), "")?;
    let name = library.file_name().context("the library has no name")?;
    fs::copy(library, calls.join(name))?;
    Ok(())
}

/// An environment with what is pinned, and the wheels of it, made once.
fn tools(python: &Path, requirements: &Path) -> anyhow::Result<PathBuf> {
    built::kept(&cache::folder()?, "python", &[requirements], |folder| {
        cache::run(folder, &[], &[text(python)?, "-m", "venv", text(folder)?])?;
        let download = ["download", "--only-binary", ":all:", "--dest", "wheels"];
        let pinned = ["-r", text(requirements)?];
        pip(folder, folder, &[download.as_slice(), &pinned].concat())
    })
}

/// Runs the pip of `tools`.
fn pip(folder: &Path, tools: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let python = tools.join("bin/python");
    let pip = [text(&python)?, "-m", "pip", "--quiet"];
    cache::run(folder, &[], &[pip.as_slice(), arguments].concat())
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("paths must be UTF-8")
}
