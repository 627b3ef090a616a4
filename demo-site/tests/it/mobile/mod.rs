//! The packages of the mobile SDK, used from outside as apps use them, at a real collector and a real aggregator.

mod kill;
mod languages;
mod shops;

use std::{cell::Cell, process::Command, time::Duration};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tempfile::{NamedTempFile, TempDir};
use wakeline_bindings::{Language, generate_into};
use wakeline_testbed::{Kotlin, Process, Python, Stack, eventually, mobile_library, mobile_sdk};

/// The first build of a package fetches what it needs, which takes minutes.
const LIMIT: Duration = Duration::from_secs(300);

/// The calls of the library that cargo built, for a language.
fn bindings(language: Language) -> anyhow::Result<TempDir> {
    let folder = TempDir::new()?;
    generate_into(language, &mobile_library()?, folder.path())?;
    Ok(folder)
}

fn kotlin() -> anyhow::Result<Kotlin> {
    tokio::task::block_in_place(|| Kotlin::build(bindings(Language::Kotlin)?.path()))
}

fn python() -> anyhow::Result<Python> {
    tokio::task::block_in_place(|| Python::build(bindings(Language::Python)?.path()))
}

/// Tells a program where to send.
fn told<'c>(command: &'c mut Command, stack: &Stack) -> &'c mut Command {
    command
        .env("WAKELINE_COLLECTOR", &stack.collector_url)
        .env("WAKELINE_KEY", &stack.write_key)
}

/// Runs a program to its end, which must be a good one; gives what it printed.
fn run(name: &str, command: &mut Command) -> anyhow::Result<String> {
    let mut process = Process::start(name, command)?;
    let code = process.ended(LIMIT)?;
    ensure!(code == 0, "{name}: exit code {code}:\n{}", process.output());
    Ok(process.output())
}

/// Waits until the aggregator has counted that many events, nothing is on its way, and there are as many still.
async fn counted(stack: &Stack, expected: u64) -> anyhow::Result<()> {
    let seen = Cell::new([0; 3]);
    let what = || async {
        let ledger = stack.ledger("shop.example", "day").await?;
        let fate = |name: &str| ledger["total"][name].as_u64().unwrap_or_default();
        seen.set([fate("accepted"), fate("counted"), fate("duplicate")]);
        let [accepted, counted, duplicate] = seen.get();
        Ok((counted == expected && accepted == counted + duplicate).then_some(()))
    };
    eventually("the events are counted", Duration::from_secs(60), what)
        .await
        .with_context(|| {
            let [accepted, counted, duplicate] = seen.get();
            format!(
                "expected {expected}; {accepted} accepted, {counted} counted, {duplicate} twice"
            )
        })?;
    stack.expect(stack.totals().await?).await
}

/// Runs the tests of a package; the aggregator must have counted what the clients in them were told was accepted.
async fn tests_pass(name: &str, mut command: Command) -> anyhow::Result<Stack> {
    let stack = Stack::start().await?;
    let accepted = NamedTempFile::new()?;
    let command = told(&mut command, &stack).env("WAKELINE_ACCEPTED", accepted.path());
    tokio::task::block_in_place(|| run(name, command))?;
    let accepted = std::fs::read_to_string(accepted.path())?;
    let accepted: Vec<u64> = accepted.lines().map(str::parse).collect::<Result<_, _>>()?;
    ensure!(!accepted.is_empty(), "no test has told what was accepted");
    counted(&stack, accepted.iter().sum()).await?;
    Ok(stack)
}

/// A figure by the values of a dimension, as pairs.
async fn by(stack: &Stack, dimension: &str, metric: &str) -> anyhow::Result<Vec<(String, u64)>> {
    let answer = stack.query(&[metric], &[dimension]).await?;
    let rows = answer["results"].as_array().context("no results")?;
    let pair = |row: &Value| {
        let value = row["dimensions"][0].as_str()?.to_owned();
        Some((value, row["metrics"][0].as_u64()?))
    };
    rows.iter()
        .map(|row| pair(row).with_context(|| format!("not a pair: {row}")))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tests_of_the_kotlin_package_pass_and_totals_are_what_they_tracked() -> anyhow::Result<()> {
    let tests = kotlin()?.tests(None)?;
    tests_pass("JUnit", tests).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tests_of_the_python_package_pass_and_totals_are_what_they_tracked() -> anyhow::Result<()> {
    let mut tests = python()?.program();
    let package = mobile_sdk()?.join("python");
    tests
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .current_dir(package);
    tests_pass("pytest", tests).await.map(drop)
}
