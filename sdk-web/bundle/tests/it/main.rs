//! What is published and served, built as users get it, and what it does in a browser. Delivery is tested with the demo.

mod capture;
mod neighbour;
mod person;
mod places;
mod site;

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
    time::{Duration, Instant},
};

use wakeline_bundle::{Options, Package, build};

fn out_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("wakeline-bundle")
}

/// Built once; kept between runs, as long as nothing changes.
fn package() -> &'static Package {
    static PACKAGE: OnceLock<Package> = OnceLock::new();
    PACKAGE.get_or_init(|| {
        build(&out_dir(), &Options::default()).unwrap_or_else(|error| panic!("{error:#}"))
    })
}

fn node(arguments: &[&OsStr], folder: &Path) -> io::Result<Output> {
    Command::new("node")
        .args(arguments)
        .current_dir(folder)
        .output()
}

/// Where the build has its packages.
fn tools() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("wasm/npm/node_modules")
}

/// Compiles `source` as TypeScript of a project that has the package installed.
fn type_check(source: &str) -> io::Result<Output> {
    let npm = &package().npm;
    let project = tempfile::tempdir()?;
    let modules = project.path().join("node_modules");
    fs::create_dir(&modules)?;
    std::os::unix::fs::symlink(npm, modules.join("wakeline"))?;
    fs::write(project.path().join("package.json"), r#"{"type":"module"}"#)?;
    fs::write(project.path().join("page.ts"), source)?;
    let tsc = tools().join("typescript/bin/tsc");
    let options = [
        "--noEmit", "--strict", "--target", "es2020", "--module", "nodenext", "page.ts",
    ];
    let mut arguments = vec![tsc.as_os_str()];
    arguments.extend(options.map(OsStr::new));
    node(&arguments, project.path())
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn loader_is_at_most_two_kilobytes() {
    let loader = package().sizes.loader;
    assert!(loader.brotli <= 2_000, "{loader:?}");
}

#[test]
fn sdk_does_not_grow_unnoticed() {
    let sizes = &package().sizes;
    assert!(sizes.brotli() <= MAX_SDK_BROTLI, "{sizes:?}");
}

/// Loader, main module and WebAssembly together, in bytes by brotli.
const MAX_SDK_BROTLI: usize = 18_000;
/// With all that captures.
const MAX_WITH_CAPTURE_BROTLI: usize = 23_100;

#[test]
fn capturing_everything_does_not_grow_unnoticed() {
    let sizes = &package().sizes;
    assert!(
        sizes.brotli_with_capture() <= MAX_WITH_CAPTURE_BROTLI,
        "{sizes:?}"
    );
}

#[test]
fn unit_tests_of_the_scripts_pass() {
    package();
    let loader = Path::new(env!("CARGO_MANIFEST_DIR")).join("../loader");
    let output = Command::new("node")
        .arg("test/run.mjs")
        .arg(tools())
        .current_dir(loader)
        .output()
        .expect("node runs");
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn build_with_nothing_changed_is_instant() {
    package();
    let start = Instant::now();
    let again = build(&out_dir(), &Options::default()).expect("the package builds");
    assert!(!again.rebuilt);
    assert_eq!(again.sizes, package().sizes);
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn served_files_name_each_other_and_are_compressed() {
    let serve = &package().serve;
    let read = |name: &str| fs::read_to_string(serve.join(name)).expect("a text file");
    let names: Vec<String> = fs::read_dir(serve)
        .expect("a folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a plain name")
        })
        .collect();
    let hashed = |extension: &str| {
        let mut found = names.iter().filter(|name| {
            name.starts_with("sdk-") && Path::new(name).extension().is_some_and(|e| e == extension)
        });
        let (Some(name), None) = (found.next(), found.next()) else {
            panic!("one sdk-….{extension} in {names:?}");
        };
        name.as_str()
    };
    assert!(read("wakeline.js").contains(hashed("js")));
    assert!(read(hashed("js")).contains(hashed("wasm")));
    for name in ["wakeline.js", hashed("js"), hashed("wasm")] {
        for extension in ["br", "gz"] {
            assert!(
                names.contains(&format!("{name}.{extension}")),
                "{name}.{extension}"
            );
        }
    }
}

#[test]
fn module_can_be_imported_and_started_on_a_server() {
    let script = r#"
        import { init } from "./wakeline.mjs";
        const wakeline = init({ key: "k" });
        wakeline.track("x", { y: 1 });
        wakeline.order({ id: "1", currency: "EUR", value: 1, items: [] });
        wakeline.flush();
    "#;
    let output = node(
        &["--input-type=module", "--eval", script].map(OsStr::new),
        &package().npm,
    )
    .expect("node runs");
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(text(&output), "");
}

#[test]
fn declarations_fit_the_documented_use() {
    let output = type_check(
        r#"
        import { init, type Wakeline } from "wakeline";
        const wakeline: Wakeline = init({ key: "k", collector: "/w", pageViews: false });
        wakeline.track("newsletter", { place: "footer", at: new Date(), nth: 2, first: true, from: undefined });
        wakeline.productView({ sku: "s" });
        wakeline.cart({ currency: "EUR", value: 100, items: [{ sku: "s", price: 100, quantity: 1 }] });
        wakeline.order({ id: "1", currency: "EUR", value: 100, items: [] });
        wakeline.debug = true;
        wakeline.identify("u1", { plan: "pro" });
        wakeline.alias("u1", "u0");
        wakeline.group("g1");
        wakeline.set({ theme: "dark", big: 10n });
        wakeline.use((event) => (event.type == "click" ? null : event));
        wakeline.page({ url: "https://shop.example/virtual" });
        wakeline.setConsent("granted");
        wakeline.reset();
        init({ key: "k", consent: "pending", persistence: "cookie", domain: "shop.example", capture: ["clicks"] });
        interface Place { place: string; nth?: number }
        const place: Place = { place: "footer" };
        window.wakeline?.track("newsletter", place);
        "#,
    )
    .expect("node runs");
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn declarations_refuse_misuse() {
    for line in [
        "init({});",
        "init({ key: 'k' }).setConsent('yes');",
        "init({ key: 'k', persistence: 'disk' });",
        "init({ key: 'k' }).track('x', { y: [1] });",
        "init({ key: 'k' }).order({ currency: 'EUR', value: 1, items: [] });",
    ] {
        let output =
            type_check(&format!("import {{ init }} from 'wakeline';\n{line}")).expect("node runs");
        assert!(!output.status.success(), "{line}");
        assert!(text(&output).contains("page.ts(2,"), "{}", text(&output));
    }
}
