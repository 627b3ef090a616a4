//! The mobile SDK's core, in this process and under C, at real servers.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use wakeline_mobile::App;
use wakeline_mobile::clock::DeviceClock;
use wakeline_mobile::settings::Settings;
use wakeline_testbed::{Stack, eventually};

const IN_TIME: Duration = Duration::from_secs(60);

fn open(stack: &Stack, data: &Path) -> anyhow::Result<Arc<App>> {
    let settings = json!({
        "key": stack.write_key,
        "url": stack.collector_url,
        "data_dir": data,
        "http": "built_in",
        "batch_wait_ms": 20,
        "batch_events": 20,
        "os": "Android",
        "os_version": "16",
    });
    let settings = Settings::parse(&settings.to_string())?;
    Ok(Arc::new(App::open(settings, Arc::new(DeviceClock::new()))?))
}

async fn all_sent(app: &Arc<App>) -> anyhow::Result<()> {
    let app = Arc::clone(app);
    eventually("all is sent", IN_TIME, || async {
        app.network("offline");
        app.network("online"); // no waiting for the backoff's end
        app.flush();
        let status: Value = serde_json::from_str(&app.status())?;
        Ok((status["queued"] == 0).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_are_what_an_app_recorded_though_the_collector_is_killed() -> anyhow::Result<()> {
    let mut stack = Stack::start().await?;
    let data = tempfile::tempdir()?;
    let app = open(&stack, data.path())?;
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let app = Arc::clone(&app);
            std::thread::spawn(move || {
                let mut taken = 0;
                for number in 0..300 {
                    let said = match number % 10 {
                        0 => json!({"type": "screen_view", "url": format!("Screen {thread}")}),
                        1 => json!({"type": "order", "order": {"id": format!("{thread}-{number}"), "currency": "EUR", "value": 100}}),
                        _ => json!({"name": "tap", "properties": {"number": number}}),
                    };
                    taken += u64::from(app.record(&said.to_string()));
                    std::thread::sleep(Duration::from_millis(2)); // so that the kills strike while events are on their way
                }
                taken
            })
        })
        .collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(50..250))).await; // the moment of the fault
        tokio::task::block_in_place(|| stack.restart_collector())?;
    }
    let mut taken = 0;
    for thread in threads {
        taken += thread.join().ok().context("a thread panicked")?;
    }
    ensure!(taken == 2_400, "{taken} of 2,400 were taken");
    all_sent(&app).await?;
    stack.expect([1, 1, 240, 2_400]).await?;
    let systems = stack.query(&["events"], &["visit:os"]).await?;
    ensure!(
        systems["results"][0]["dimensions"][0] == "Android",
        "{systems}"
    );
    Ok(())
}

/// The mobile SDK's shared library, which is built with these tests.
fn library() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.parent().context("the test is in no folder")?;
    ensure!(
        folder.join("libwakeline_mobile.so").is_file(),
        "libwakeline_mobile.so is missing in {}: run `cargo test --workspace`",
        folder.display()
    );
    Ok(folder.to_owned())
}

/// Compiles a program of C with the SDK's header.
fn compile(source: &Path, program: &Path, more: &[&OsStr]) -> anyhow::Result<()> {
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk-mobile/include");
    let compiled = Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(header)
        .arg(source)
        .arg("-o")
        .arg(program)
        .args(more)
        .output()
        .context("cc is missing: apt-get install gcc")?;
    ensure!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    Ok(())
}

/// A host of plugins, or an application server, that unloads what runs.
const UNLOADS: &str = r#"
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>
#include "wakeline.h"

int main(int count, char **arguments) {
  void *library = count == 3 ? dlopen(arguments[1], RTLD_NOW) : NULL;
  if (library == NULL) return 2;
  wakeline *(*open)(const char *, char *, size_t) = (wakeline * (*)(const char *, char *, size_t)) dlsym(library, "wakeline_open");
  bool (*record)(const wakeline *, const char *) = (bool (*)(const wakeline *, const char *))dlsym(library, "wakeline_record");
  wakeline *sdk = open(arguments[2], NULL, 0);
  if (sdk == NULL || !record(sdk, "{\"name\":\"before\"}")) return 3;
  dlclose(library);
  usleep(300000); /* its thread writes meanwhile */
  return record(sdk, "{\"name\":\"after\"}") ? 0 : 4;
}
"#;

#[test]
fn a_host_that_unloads_the_library_does_not_crash() -> anyhow::Result<()> {
    let built = tempfile::tempdir()?;
    let (source, host) = (built.path().join("host.c"), built.path().join("host"));
    std::fs::write(&source, UNLOADS)?;
    compile(&source, &host, &["-ldl".as_ref()])?;
    let settings =
        json!({"key": "wk_1", "url": "http://127.0.0.1:9", "data_dir": built.path().join("data")});
    let run = Command::new(&host)
        .arg(library()?.join("libwakeline_mobile.so"))
        .arg(settings.to_string())
        .status()?;
    ensure!(run.success(), "{run}");
    Ok(())
}

#[tokio::test]
async fn the_example_of_c_compiles_and_its_visit_is_in_the_reports() -> anyhow::Result<()> {
    let stack = Stack::start().await?;
    let built = tempfile::tempdir()?;
    let shop = built.path().join("shop");
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk-mobile");
    let library = library()?;
    let link: [&OsStr; 3] = [
        "-L".as_ref(),
        library.as_os_str(),
        "-lwakeline_mobile".as_ref(),
    ];
    compile(&sdk.join("examples/c/shop.c"), &shop, &link)?;
    let run = tokio::process::Command::new(&shop)
        .arg(&stack.collector_url)
        .arg(&stack.write_key)
        .arg(built.path().join("data"))
        .env("LD_LIBRARY_PATH", &library)
        .output()
        .await?;
    ensure!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let status: Value = serde_json::from_slice(&run.stdout)?;
    ensure!(status["queued"] == 0 && status["accepted"] == 7, "{status}");
    // Opened, installed, a screen, signed in, a tap, an order, a timed event.
    stack.expect([1, 1, 1, 7]).await?;
    for (dimension, expected) in [
        ("visit:source", "newsletter"),
        ("visit:utm_campaign", "spring"),
        ("visit:os", "Linux"),
        ("visit:device", "Desktop"),
        ("visit:entry_page", "Home"),
    ] {
        let answer = stack.query(&["visits"], &[dimension]).await?;
        ensure!(
            answer["results"][0]["dimensions"][0] == expected,
            "{dimension}: {answer}"
        );
    }
    let revenue = stack.query(&["total_revenue"], &[]).await?;
    ensure!(revenue.to_string().contains("36"), "{revenue}");
    Ok(())
}
