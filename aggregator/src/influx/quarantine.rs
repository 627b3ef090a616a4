//! Lines that InfluxDB refuses, on disk for whoever has to find out why.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The file is put aside once it is this long; the one put aside before is gone then.
const MAX_BYTES: u64 = 1 << 20;

/// A folder with `influxdb.jsonl`: of each refusal one object with `at_ms`, `status`, `message` and `lines`.
pub(crate) struct Quarantine {
    folder: PathBuf,
}

impl Quarantine {
    /// In a folder that is made when the first line is refused.
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Where the lines are.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.join("influxdb.jsonl")
    }

    /// Writes down what was refused. Nothing is lost if that fails: the state has it.
    pub(super) fn add(
        &self,
        at_ms: i64,
        status: u16,
        message: &str,
        lines: &[&str],
    ) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let file = self.file();
        if std::fs::metadata(&file).is_ok_and(|file| file.len() > MAX_BYTES) {
            std::fs::rename(&file, self.folder.join("influxdb.old.jsonl"))?;
        }
        let record = serde_json::json!({
            "at_ms": at_ms, "status": status, "message": message, "lines": lines,
        });
        let mut file: File = OpenOptions::new().create(true).append(true).open(file)?;
        file.write_all(format!("{record}\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_BYTES, Quarantine};

    #[test]
    fn what_is_refused_is_kept_up_to_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::new(&dir.path().join("quarantine"));
        let line = "m f=1i 0\n".repeat(10_000);
        for _ in 0..40 {
            quarantine.add(5, 400, "no", &[&line]).unwrap();
        }
        let bytes: u64 = std::fs::read_dir(dir.path().join("quarantine"))
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum();
        assert!(bytes < 3 * MAX_BYTES, "{bytes}");
        let text = std::fs::read_to_string(quarantine.file()).unwrap();
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(
            (&last["status"], &last["message"]),
            (&400.into(), &"no".into())
        );
    }
}
