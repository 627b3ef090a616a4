//! Which making of the figures is where: a file in the data folder, since a bucket can be gone, or be another one.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::client::Bucket;
use super::line::{Value, line, series};

/// The time of the pointer, 2200-01-01 UTC: one point that is always overwritten, and that no retention ends.
const POINTER_S: i64 = 7_258_118_400;

/// How far a generation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// It is being written for the first time; readers read another one, or none.
    Filling,
    /// Readers read it, and others may be there still.
    Current,
    /// It is the only one.
    Alone,
}

/// A making of the figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Generation {
    /// The tag of its points.
    pub(super) number: u32,
    pub(super) stage: Stage,
    /// Where it is written.
    pub(super) bucket: Bucket,
    /// The generation of state that it is made of.
    pub(super) state: u32,
}

impl Generation {
    /// Whether figures of that state in that bucket belong to it.
    pub(super) fn goes_on(&self, bucket: &Bucket, state: u32) -> bool {
        self.bucket == *bucket && self.state == state
    }
}

/// The file.
#[derive(Clone, Debug)]
pub(super) struct Book(PathBuf);

impl Book {
    pub(super) fn new(file: PathBuf) -> Self {
        Self(file)
    }

    /// What was written down last; `None` if there is nothing, or something of an older version.
    pub(super) fn read(&self) -> io::Result<Option<Generation>> {
        match std::fs::read(&self.0) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns when it is durable.
    pub(super) fn write(&self, generation: &Generation) -> io::Result<()> {
        let text = serde_json::to_string(generation)?;
        crate::generations::write_durably(&self.0, &(text + "\n"))
    }
}

/// The line that claims a bucket for a log, and tells readers what to read once that is there.
pub(super) fn pointer(log: &str, generation: Option<u32>) -> String {
    let log = Value::Text(log.to_owned());
    let generation = generation.map(|number| Value::Text(number.to_string()));
    let fields = generation.iter().map(|number| ("generation", number));
    let mut text = String::new();
    line(
        &mut text,
        &series("current", &[]),
        fields.chain([("log", &log)]),
        POINTER_S,
    );
    text
}

#[cfg(test)]
mod tests {
    use super::{Book, Bucket, Generation, Stage, pointer};

    #[test]
    fn a_file_of_an_older_version_says_nothing_and_a_new_one_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("metrics-bucket");
        let book = Book::new(file.clone());
        assert_eq!(book.read().unwrap(), None);
        std::fs::write(file, "0f1e2d3c4b5a6978 0\n").unwrap();
        assert_eq!(book.read().unwrap(), None);
        let generation = Generation {
            number: 4,
            stage: Stage::Current,
            bucket: Bucket {
                id: "0f1e".into(),
                keeps_s: Some(86_400),
            },
            state: 2,
        };
        book.write(&generation).unwrap();
        assert_eq!(book.read().unwrap(), Some(generation.clone()));
        assert!(generation.goes_on(&generation.bucket, 2));
        assert!(!generation.goes_on(&generation.bucket, 3));
    }

    #[test]
    fn a_pointer_is_one_point_at_one_time() {
        assert_eq!(
            pointer("ab", Some(3)),
            "current generation=\"3\",log=\"ab\" 7258118400\n"
        );
        assert_eq!(pointer("ab", None), "current log=\"ab\" 7258118400\n");
    }
}
