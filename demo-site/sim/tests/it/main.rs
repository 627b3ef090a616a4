//! Simulations of two hundred seeds, and that a seed is always the same simulation.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn simulate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wakeline-sim"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Other seeds: `SEED=1000 SEEDS=500 cargo test -p wakeline-sim`.
#[test]
fn keeps_every_promise_under_the_faults_of_two_hundred_seeds() {
    let variable = |name, default: &str| std::env::var(name).unwrap_or(default.to_owned());
    let (from, seeds) = (variable("SEED", "0"), variable("SEEDS", "200"));
    let run = simulate(&["--from", &from, "--seeds", &seeds]);
    assert!(
        run.status.success(),
        "{}{}",
        text(&run.stderr),
        text(&run.stdout)
    );
}

#[test]
fn two_runs_of_a_seed_do_the_same_at_the_same_time() {
    for seed in ["3", "17", "32", "77", "101"] {
        let (first, second) = (simulate(&["--seed", seed]), simulate(&["--seed", seed]));
        assert!(first.status.success(), "{}", text(&first.stderr));
        assert_eq!(text(&first.stdout), text(&second.stdout), "seed {seed}");
    }
}

#[test]
fn other_seeds_are_other_simulations() {
    let (first, second) = (simulate(&["--seed", "1"]), simulate(&["--seed", "2"]));
    assert_ne!(text(&first.stdout), text(&second.stdout));
}
