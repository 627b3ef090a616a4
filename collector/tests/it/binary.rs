//! The binary, killed and ended.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::harness::{WRITE_KEY, keep_snapshot, nowhere, snapshot};

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn collector(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wakeline-collector"));
    command
        .arg("--data")
        .arg(data)
        .env("WAKELINE_UPSTREAM__URL", nowhere().await)
        .kill_on_drop(true);
    command
}

/// A serving collector and its address.
async fn serving(data: &Path) -> (Child, String) {
    let mut child = collector(data)
        .await
        .args(["serve", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let address = listening(&mut child).await;
    (child, address)
}

/// The address that a collector says it listens at.
pub(crate) async fn listening(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line())
        .await
        .expect("it says where it listens")
        .unwrap()
        .unwrap();
    let address = line
        .strip_prefix("listening at http://")
        .and_then(|rest| rest.strip_suffix('/'))
        .unwrap();
    address.to_owned()
}

async fn inspect(data: &Path) -> Value {
    let output = collector(data)
        .await
        .args(["spool", "inspect", "--json"])
        .output()
        .await
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(crate) fn signal(child: &Child, name: &str) {
    let id = child.id().unwrap().to_string();
    let status = std::process::Command::new("kill")
        .args([name, &id])
        .status()
        .unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn what_was_answered_with_202_survives_kill_9() {
    let data = tempfile::tempdir().unwrap();
    keep_snapshot(data.path(), &snapshot(1));
    let mut names = Vec::new();
    let mut edges: Vec<Value> = Vec::new();
    for round in 0..3 {
        let (mut child, address) = serving(data.path()).await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        for request in 0..5 {
            let name = format!("round {round} request {request}");
            let response = client
                .post(format!("http://{address}/w/1/events?k={WRITE_KEY}"))
                .body(json!([{"type": "custom", "name": name, "visitor": "v"}, 5]).to_string())
                .send()
                .await
                .unwrap();
            assert_eq!(response.status(), 202);
            names.push(name);
        }
        signal(&child, "-9");
        assert!(!child.wait().await.unwrap().success());

        let report = inspect(data.path()).await;
        let found: Vec<_> = report["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["name"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(found, names);
        assert_eq!(report["rejected"].as_u64().unwrap() as usize, names.len());
        assert_eq!(report["lost_corrupt"], 0);
        let found = report["edges"].as_array().unwrap();
        assert!(found.starts_with(&edges), "what was spooled keeps its id");
        assert_eq!(found.len(), round + 1, "each opening has its own");
        edges.clone_from(found);
    }
}

#[tokio::test]
async fn a_request_in_progress_is_finished_after_sigterm() {
    let data = tempfile::tempdir().unwrap();
    keep_snapshot(data.path(), &snapshot(1));
    let (mut child, address) = serving(data.path()).await;
    let body = json!({"type": "click", "visitor": "v"}).to_string();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST /w/1/events?k={WRITE_KEY} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 25];
    stream.read_exact(&mut answer).await.unwrap(); // the door waits for the body
    assert!(answer.starts_with(b"HTTP/1.1 100 "));
    signal(&child, "-TERM");
    // It takes no more connections…
    crate::harness::eventually(async || TcpStream::connect(&address).await.is_err()).await;
    // …and still takes what had begun.
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    let status = tokio::time::timeout(PATIENCE, child.wait())
        .await
        .unwrap()
        .unwrap();
    assert!(status.success());
    assert_eq!(inspect(data.path()).await["accepted"], 1);
}

#[tokio::test]
async fn a_second_collector_on_the_same_data_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let (_child, _) = serving(data.path()).await;
    let output = collector(data.path())
        .await
        .args(["serve", "--listen", "127.0.0.1:0"])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = last_line(&output.stderr);
    assert!(text.contains("in use"), "{text}");
    assert!(text.contains(data.path().to_str().unwrap()), "{text}");
}

/// Where the error is said.
fn last_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    text.trim_end()
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn a_failure_is_said_in_one_line_with_its_cause_and_by_the_exit_code() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("file");
    std::fs::write(&file, "").unwrap();
    let run = async |arguments: &[&str]| {
        let output = collector(&file)
            .await
            .args(arguments)
            .env("RUST_BACKTRACE", "full")
            .output()
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), text)
    };
    for arguments in [["serve", "--http-listen=127.0.0.1:0"], ["spool", "inspect"]] {
        let (code, text) = run(&arguments).await;
        assert_eq!(code, Some(1), "{text}");
        assert!(text.starts_with("error: "), "{text}");
        assert!(text.contains(file.to_str().unwrap()), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    assert_eq!(run(&["serve", "--colour"]).await.0, Some(2));
    assert_eq!(run(&["spool", "inspect", "--upstream=x"]).await.0, Some(2));
}

#[tokio::test]
async fn the_configuration_is_read_from_the_file_that_the_environment_names() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("collector.toml");
    std::fs::write(&file, "[limits]\nevents = 0\ncolour = 5\n").unwrap();
    let output = collector(data.path())
        .await
        .arg("serve")
        .env("WAKELINE_CONFIG", &file)
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = last_line(&output.stderr);
    assert!(text.contains("limits.colour"), "{text}");
}

#[tokio::test]
async fn wrong_settings_are_all_named() {
    let data = tempfile::tempdir().unwrap();
    let output = collector(data.path())
        .await
        .args(["serve", "--listen", "nowhere"])
        .env("WAKELINE_SPOOL__COLOUR", "blue")
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = last_line(&output.stderr);
    assert!(
        text.contains("http.listen") && text.contains("spool.colour"),
        "{text}"
    );
}
