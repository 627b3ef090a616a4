//! The dashboard's own types and tests, run by npm in a copy of its folder.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if !entry.file_type()?.is_dir() {
            fs::copy(entry.path(), target)?;
        } else if ![OsStr::new("node_modules"), OsStr::new("dist")].contains(&&*entry.file_name()) {
            copy(&entry.path(), &target)?;
        }
    }
    Ok(())
}

#[test]
fn dashboard_types_fit_and_its_tests_pass() {
    // A folder that stays, so that packages are fetched once.
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("dashboard");
    for stale in ["src", "test"] {
        let _ = fs::remove_dir_all(folder.join(stale)); // may not be there yet
    }
    copy(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboard"),
        &folder,
    )
    .unwrap();
    for arguments in [
        &["ci", "--ignore-scripts", "--prefer-offline"][..],
        &["run", "check"],
        &["test"],
    ] {
        let output = Command::new("npm")
            .args(arguments)
            .current_dir(&folder)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "npm {arguments:?}:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn the_dashboard_has_words_for_every_reason_of_a_refusal() {
    let source = include_str!("../../dashboard/src/ledger.ts");
    for reason in wakeline_proto::Reason::ALL {
        let entry = format!("\n  {}: [", reason.as_str());
        assert!(source.contains(&entry), "{} has no words", reason.as_str());
    }
}
