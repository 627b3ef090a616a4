//! The command line, with and without a server.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wakeline-aggregator"));
    command
        .env("WAKELINE_DATA", data)
        .env_remove("WAKELINE_ADMIN_TOKEN")
        .stdin(Stdio::null());
    command
}

fn run(data: &Path, arguments: &str) -> Output {
    command(data)
        .args(arguments.split_ascii_whitespace())
        .output()
        .unwrap()
}

/// What a command printed as JSON.
fn json(data: &Path, arguments: &str) -> Value {
    let output = run(data, &format!("{arguments} --json"));
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn check_refused(data: &Path, arguments: &str, code: i32, named: &str) {
    let output = run(data, arguments);
    let says = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments}: {says}");
    assert!(says.contains(named), "{arguments}: {says}");
}

/// A server process that is ended when dropped.
struct Server {
    process: Child,
    started: Value,
}

impl Server {
    fn start(data: &Path, admin_token: Option<&str>) -> Self {
        let mut serve = command(data);
        serve.args([
            "serve",
            "--json",
            "--http-listen",
            "127.0.0.1:0",
            "--grpc-listen",
            "127.0.0.1:0",
        ]);
        serve.envs(admin_token.map(|token| ("WAKELINE_ADMIN_TOKEN", token)));
        let mut process = serve.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self {
            process,
            started: serde_json::from_str(&line).unwrap(),
        }
    }

    async fn status_with(&self, token: &str) -> u16 {
        let url = format!("{}/api/v1/session", self.started["http"].as_str().unwrap());
        let request = reqwest::Client::new().get(url).bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    }

    fn stop(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.process.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn sites_keys_and_tokens_are_managed_without_a_server() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let made = json(
        data,
        "site create --domain shop.example --timezone Europe/Berlin --currency eur --session-gap 45",
    );
    assert_eq!(made["site_id"], 1);
    assert!(made["write_key"].as_str().unwrap().starts_with("wk_"));
    assert!(made["server_key"].as_str().unwrap().starts_with("sk_"));

    let sites = json(data, "site list");
    let site = &sites["sites"][0];
    assert_eq!(
        (
            site["currency"].as_str(),
            site["session_gap_minutes"].as_u64()
        ),
        (Some("EUR"), Some(45))
    );
    json(
        data,
        "site set --site shop.example --domain store.example --currency CHF",
    );
    assert_eq!(
        json(data, "site list")["sites"][0]["domain"],
        "store.example"
    );

    let key = json(data, "key create --site store.example --kind server");
    assert_eq!(
        json(data, "key list --site 1")["keys"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    json(
        data,
        &format!("key revoke {}", key["key"].as_str().unwrap()),
    );
    assert_eq!(
        json(data, "key list --site 1")["keys"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    let token = json(data, "token create --name ci");
    json(data, "token create");
    json(data, &format!("token revoke {}", token["id"]));
    assert_eq!(
        json(data, "token list")["tokens"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn answers_are_readable_without_json() {
    let data = tempfile::tempdir().unwrap();
    run(data.path(), "site create --domain a.example");
    let list = String::from_utf8(run(data.path(), "site list").stdout).unwrap();
    let lines: Vec<_> = list.lines().collect();
    assert!(lines[0].starts_with("ID  DOMAIN"), "{list}");
    assert!(lines[1].starts_with("1   a.example"), "{list}");
}

#[test]
fn what_is_wrong_is_said_and_the_exit_code_tells_what_kind() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    check_refused(data, "", 2, "Usage");
    check_refused(data, "site create", 2, "--domain");
    check_refused(
        data,
        "site create --domain a.example --session-gap x",
        2,
        "--session-gap",
    );
    check_refused(
        data,
        "site create --domain https://a.example",
        2,
        "without scheme",
    );
    check_refused(
        data,
        "site create --domain a.example --timezone Mars/Olympus",
        2,
        "Mars/Olympus",
    );
    check_refused(
        data,
        "site create --domain a.example --currency XXX",
        2,
        "ISO 4217",
    );
    check_refused(
        data,
        "site create --domain a.example --session-gap 241",
        2,
        "1 to 240",
    );
    check_refused(
        data,
        "site create --domain a.example --session-gap 0",
        2,
        "--session-gap",
    );
    check_refused(
        data,
        "site set --site 1 --timezone Mars/Olympus",
        2,
        "--timezone",
    );
    json(data, "site create --domain a.example");
    check_refused(data, "site create --domain A.example", 1, "already");
    check_refused(data, "site set --site a.example", 1, "nothing to change");
    check_refused(
        data,
        "site set --site a.example --timezone Asia/Tokyo",
        1,
        "keeps the time zone",
    );
    check_refused(
        data,
        "site set --site d.example --domain c.example",
        1,
        "no site d.example",
    );
    json(data, "site create --domain b.example");
    for (command, why) in [
        ("--alias plausible:b.example", "the site of that domain"),
        ("--remove-alias ga4:G-1", "no alias ga4:G-1"),
    ] {
        let command = format!("site set --site a.example {command}");
        check_refused(data, &command, 1, why);
    }
    json(
        data,
        "site set --site a.example --alias plausible:c.example",
    );
    for command in ["site create", "site set --site b.example"] {
        let command = format!("{command} --domain c.example");
        check_refused(data, &command, 1, "an alias of another site");
    }
    let bound = json(
        data,
        "key create --site a.example --app com.example.shop --app tv",
    );
    assert_eq!(bound["apps"], serde_json::json!(["com.example.shop", "tv"]));
    let server_key = "key create --site a.example --kind server --app tv";
    check_refused(data, server_key, 1, "not bound to apps");
    check_refused(
        data,
        "key create --site a.example --app a/b",
        2,
        "id of an app",
    );
    check_refused(data, "key create --site 7", 1, "no site 7");
    check_refused(data, "key revoke wk_none", 1, "wk_none");
    check_refused(data, "token revoke 5", 1, "no token 5");
    check_refused(data, "serve --http-listen nowhere", 2, "http.listen");
}

#[test]
fn a_folder_that_is_not_there_is_named_and_not_made() {
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("mistyped");
    for command in [
        "site list",
        "site set --site 1 --currency EUR",
        "key list",
        "key create --site 1",
        "token list",
        "token create",
    ] {
        check_refused(&data, command, 1, data.to_str().unwrap());
        assert!(!data.exists(), "{command}");
    }
    json(&data, "site create --domain a.example");
    json(&data, "key create --site 1");
}

#[test]
fn errors_are_sentences_without_backtraces() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    json(data, "site create --domain a.example");
    std::fs::write(data.join("control.sqlite"), [0xA5; 8192]).unwrap();
    for arguments in ["site list", "serve --http-listen 127.0.0.1:0"] {
        let mut command = command(data);
        command
            .args(arguments.split(' '))
            .env("RUST_BACKTRACE", "1");
        let output = command.output().unwrap();
        let says = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{says}");
        let error = says.lines().last().unwrap();
        assert!(
            error.starts_with("error: ") && error.contains("control store"),
            "{says}"
        );
        assert!(!says.contains("backtrace"), "{says}");
    }
}

#[test]
fn help_tells_of_every_command() {
    let data = tempfile::tempdir().unwrap();
    let help = String::from_utf8(run(data.path(), "--help").stdout).unwrap();
    for command in [
        "serve",
        "site",
        "key",
        "token",
        "goal",
        "query",
        "--config",
        "--data",
        "--json",
        "Exit codes",
    ] {
        assert!(help.contains(command), "{help}");
    }
    assert!(run(data.path(), "site create --help").status.success());
    assert!(run(data.path(), "--version").status.success());
}

#[test]
fn goals_are_managed_and_questions_answered_with_and_without_a_server() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    json(data, "site create --domain a.example");
    let question = r#"{"site_id":1,"metrics":["visitors"],"date_range":"7d","filters":[["is","event:goal",["Thanks"]]]}"#;
    for server in [false, true] {
        let _server = server.then(|| Server::start(data, None));
        let goal = json(
            data,
            "goal create --site a.example --name Thanks --page /thank-you*",
        );
        assert_eq!(goal["rule"]["page"], "/thank-you*");
        check_refused(
            data,
            "goal create --site 1 --name Thanks --event x",
            1,
            "already",
        );
        check_refused(data, "goal create --site 1 --name Other", 2, "--event");
        check_refused(
            data,
            "goal create --site 1 --name Other --filter [",
            1,
            "filter: ",
        );
        let listed = json(data, "goal list --site 1");
        assert_eq!(listed["goals"][0]["id"], goal["id"]);
        let answer = json(data, &format!("query {question}"));
        assert_eq!(answer["results"][0]["metrics"][0], 0, "{answer}");
        check_refused(data, r#"query {"site_id":1}"#, 1, "`metrics`");
        json(data, &format!("goal delete --site 1 {}", goal["id"]));
        check_refused(
            data,
            &format!("goal delete --site 1 {}", goal["id"]),
            1,
            "no goal",
        );
    }
}

#[test]
fn a_folder_that_is_held_without_answering_is_in_use() {
    let data = tempfile::tempdir().unwrap();
    let _lock = wakeline_aggregator::FolderLock::take(data.path()).unwrap();
    check_refused(data.path(), "site list", 3, "in use");
}

#[tokio::test]
async fn commands_talk_to_a_running_server_which_makes_the_first_token_once() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::start(data.path(), None);
    let token = server.started["admin_token"].as_str().unwrap().to_owned();
    assert_eq!(server.status_with(&token).await, 200);
    json(data.path(), "site create --domain a.example");
    check_refused(data.path(), "site create --domain a.example", 1, "already");
    let second = json(data.path(), "token create --name second");
    assert_eq!(
        server.status_with(second["token"].as_str().unwrap()).await,
        200
    );
    {
        use std::os::unix::fs::PermissionsExt as _;
        for file in ["admin.sock", "control.sqlite"] {
            let mode = std::fs::metadata(data.path().join(file))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }
    assert_eq!(server.stop(), Some(0));
    assert!(!data.path().join("admin.sock").exists());

    let again = Server::start(data.path(), None);
    assert_eq!(again.started["admin_token"], Value::Null);
    assert_eq!(again.status_with(&token).await, 200);
    assert_eq!(
        json(data.path(), "site list")["sites"][0]["domain"],
        "a.example"
    );
}

#[tokio::test]
async fn the_first_token_can_be_given_by_the_environment() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), Some("given by the operator"));
    assert_eq!(server.started["admin_token"], Value::Null);
    assert_eq!(server.status_with("given by the operator").await, 200);
    assert_eq!(server.status_with("another one").await, 401);
}

#[test]
fn a_short_admin_token_is_refused_before_anything_is_opened() {
    let data = tempfile::tempdir().unwrap();
    let mut serve = command(data.path());
    serve.args([
        "serve",
        "--http-listen",
        "127.0.0.1:0",
        "--grpc-listen",
        "127.0.0.1:0",
    ]);
    let output = serve
        .env("WAKELINE_ADMIN_TOKEN", "fifteen letters")
        .output()
        .unwrap();
    let says = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{says}");
    assert!(says.contains("16 characters"), "{says}");
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);
}

#[test]
fn a_server_that_ends_under_a_command_is_said_to_have_ended() {
    let data = tempfile::tempdir().unwrap();
    json(data.path(), "site create --domain shop.example");
    let socket = std::os::unix::net::UnixListener::bind(data.path().join("admin.sock")).unwrap();
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (stream, _) = socket.accept().unwrap();
            // It takes the request, and dies.
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
        }
    });
    for asked in ["rebuild state", "site list"] {
        check_refused(data.path(), asked, 1, "the server ended before it answered");
    }
    server.join().unwrap();
}

#[test]
fn a_reason_that_no_letter_has_is_wrong_usage() {
    let data = tempfile::tempdir().unwrap();
    json(data.path(), "site create --domain shop.example");
    for asked in ["list", "replay"] {
        let asked = format!("dead-letter {asked} --site 1 --reason old");
        check_refused(data.path(), &asked, 2, "too_old");
    }
}
