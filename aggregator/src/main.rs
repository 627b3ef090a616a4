//! `wakeline-aggregator`.

use std::process::ExitCode;

fn main() -> ExitCode {
    wakeline_aggregator::cli::run(std::env::args_os())
}
