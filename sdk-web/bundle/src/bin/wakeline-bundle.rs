//! `wakeline-bundle OUT_DIR`: builds the npm package and the files for a collector's `sdk.dir`; prints their sizes.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(out_dir), None) = (arguments.next(), arguments.next()) else {
        writeln!(std::io::stderr(), "usage: wakeline-bundle OUT_DIR")?;
        return Ok(ExitCode::from(2));
    };
    let out_dir = PathBuf::from(out_dir);
    wakeline_bundle::build(&out_dir, &wakeline_bundle::Options::default())?;
    let sizes = std::fs::read(out_dir.join("sizes.json"))?;
    std::io::stdout().write_all(&sizes)?;
    Ok(ExitCode::SUCCESS)
}
