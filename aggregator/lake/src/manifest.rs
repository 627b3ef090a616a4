//! What is in the lake: one JSON file names all others.
//!
//! `manifest/00000000000000000017.json` is version 17; the highest is valid. It is written as a whole, and only if it is
//! not there, so whoever reads sees the files of one moment, and of two writers one is told.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::LakeError;

/// Of manifests; raised when a reader of the one before would misread it.
const FORMAT: u32 = 1;

/// All that is in the lake at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of this file.
    pub format: u32,
    /// Grows by 1 with each change.
    pub version: u64,
    /// The log that events come from.
    pub log: String,
    /// Into how many parts sites are divided; fixed when the lake is made.
    pub buckets: u16,
    /// Every counted event of the log below this offset is in the files, and no other.
    pub covered_to: u64,
    /// Who wrote it: random, to tell one's own writing from another's after an answer was lost.
    pub writer: String,
    /// The files, in order of their paths.
    pub files: Vec<DataFile>,
    /// Persons that were erased.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub erased: Vec<Tombstone>,
    /// Sites whose events go after some time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retention: Vec<Retention>,
}

/// A Parquet file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Relative to the lake: `events/day=2026-11-21/bucket=3/….parquet`.
    pub path: String,
    /// The local day of all its events, as days since 1970-01-01.
    pub day: i32,
    /// The bucket of all its sites.
    pub bucket: u16,
    /// [`VERSION`](crate::schema::VERSION) of its columns.
    pub schema: u32,
    /// Rows in it.
    pub rows: u64,
    /// Length, in bytes.
    pub bytes: u64,
    /// XXH3-64 of its bytes, 16 hex digits.
    pub checksum: String,
    /// Offset of its first record of the log.
    pub from: u64,
    /// Offset after its last one.
    pub to: u64,
    /// Lowest id of a site in it.
    pub min_site: u64,
    /// Highest id of a site in it.
    pub max_site: u64,
}

/// A person whose events are gone, and stay so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The site.
    pub site: u64,
    /// As in the column `visitor`.
    pub visitor: String,
    /// Events up to this time are gone, in ms since 1970-01-01 UTC.
    pub until_ms: i64,
    /// Files may still have them.
    pub pending: bool,
}

/// How long events of a site are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// The site.
    pub site: u64,
    /// Whole local days.
    pub days: u32,
}

impl Manifest {
    /// Of a lake without events.
    pub fn new(log: &str, buckets: u16) -> Self {
        Self {
            format: FORMAT,
            version: 0,
            log: log.to_owned(),
            buckets: buckets.max(1),
            covered_to: 0,
            writer: String::new(),
            files: Vec::new(),
            erased: Vec::new(),
            retention: Vec::new(),
        }
    }

    /// Reads what `path` holds.
    pub fn read(path: &str, bytes: &[u8]) -> Result<Self, LakeError> {
        let bad = |why: String| LakeError::Manifest {
            path: path.to_owned(),
            why,
        };
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
        if manifest.format != FORMAT {
            return Err(bad(format!("its format is {}", manifest.format)));
        }
        if manifest.buckets == 0 {
            return Err(bad("it has no buckets".to_owned()));
        }
        let mut paths = HashSet::new();
        for file in &manifest.files {
            if !paths.insert(&file.path) {
                return Err(bad(format!("it names {} twice", file.path)));
            }
            if file.bucket >= manifest.buckets || !is_data(&file.path) || file.from >= file.to {
                return Err(bad(format!("{} can't be a file of a lake", file.path)));
            }
        }
        Ok(manifest)
    }

    /// As it is stored.
    pub fn write(&self) -> Vec<u8> {
        // Fails for maps with keys that are no texts: there are none.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// The bucket of a site.
    pub fn bucket(&self, site: u64) -> u16 {
        (xxh3_64(&site.to_le_bytes()) % u64::from(self.buckets)) as u16
    }

    /// The files that may have events of a site.
    pub fn files_of(&self, site: u64) -> impl Iterator<Item = &DataFile> {
        let bucket = self.bucket(site);
        let may_have = move |file: &&DataFile| {
            file.bucket == bucket && (file.min_site..=file.max_site).contains(&site)
        };
        self.files.iter().filter(may_have)
    }

    /// Rows of all files.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// Where version `version` of the manifest is.
pub(crate) fn manifest_path(version: u64) -> String {
    format!("manifest/{version:020}.json")
}

/// The version of the manifest at `path`.
pub(crate) fn manifest_version(path: &str) -> Option<u64> {
    let name = path.strip_prefix("manifest/")?.strip_suffix(".json")?;
    (name.len() == 20).then(|| name.parse().ok()).flatten()
}

/// Where rows of a day and bucket of the records `from..to` go. `merged`: the version of the manifest that replaces other
/// files by this one; 0 for rows that come from the log.
pub(crate) fn data_path(day: i32, bucket: u16, from: u64, to: u64, merged: u64) -> String {
    let date = date(day);
    let merged = if merged == 0 {
        String::new()
    } else {
        format!("-m{merged}")
    };
    format!("events/day={date}/bucket={bucket}/{from:020}-{to:020}{merged}.parquet")
}

/// Whether the lake itself may have written a file of that name.
pub(crate) fn is_data(path: &str) -> bool {
    let mut parts = path.split('/');
    let (Some("events"), Some(day), Some(bucket), Some(name), None) = (
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    ) else {
        return false;
    };
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    day.starts_with("day=")
        && bucket.strip_prefix("bucket=").is_some_and(number)
        && name.strip_suffix(".parquet").is_some_and(|name| {
            let mut parts = name.split('-');
            parts.next().is_some_and(number)
                && parts.next().is_some_and(number)
                && parts
                    .next()
                    .is_none_or(|merged| merged.strip_prefix('m').is_some_and(number))
                && parts.next().is_none()
        })
}

/// Days since 1970-01-01 as `YYYY-MM-DD`; years beyond 9999 are the last or the first that there is.
pub fn date(day: i32) -> String {
    let epoch = jiff::civil::date(1970, 1, 1);
    let date = epoch.saturating_add(jiff::SignedDuration::from_hours(i64::from(day) * 24));
    date.to_string()
}

#[cfg(test)]
mod tests {
    use super::{DataFile, Manifest, data_path, date, is_data, manifest_path, manifest_version};

    fn file(path: String) -> DataFile {
        DataFile {
            path,
            day: 20_000,
            bucket: 1,
            schema: 1,
            rows: 1,
            bytes: 1,
            checksum: String::new(),
            from: 5,
            to: 9,
            min_site: 1,
            max_site: 1,
        }
    }

    #[test]
    fn days_are_dates() {
        for (day, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (20_778, "2026-11-21"),
            (-25_567, "1900-01-01"),
        ] {
            assert_eq!(date(day), expected);
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let mut manifest = Manifest::new("abc", 4);
        manifest.files.push(file(data_path(20_000, 1, 5, 9, 0)));
        assert_eq!(Manifest::read("m", &manifest.write()).unwrap(), manifest);
    }

    #[test]
    fn what_is_no_manifest_is_refused_with_the_reason() {
        let good = || {
            let mut manifest = Manifest::new("abc", 4);
            manifest.files.push(file(data_path(20_000, 1, 5, 9, 0)));
            manifest
        };
        let says = |change: &dyn Fn(&mut Manifest)| {
            let mut manifest = good();
            change(&mut manifest);
            let error = Manifest::read("m.json", &manifest.write()).unwrap_err();
            error.to_string()
        };
        assert!(says(&|m| m.format = 2).contains("its format is 2"));
        assert!(says(&|m| m.buckets = 0).contains("no buckets"));
        assert!(says(&|m| m.files.push(m.files[0].clone())).contains("twice"));
        assert!(says(&|m| m.files[0].path = "../../etc/passwd".into()).contains("can't be"));
        assert!(says(&|m| m.files[0].bucket = 4).contains("can't be"));
        let cut = &good().write()[..40];
        assert!(Manifest::read("m.json", cut).is_err());
        assert!(Manifest::read("m.json", b"").is_err());
    }

    #[test]
    fn names_are_known_again_and_others_are_not() {
        assert_eq!(manifest_version(&manifest_path(17)), Some(17));
        for other in [
            "manifest/17.json",
            "manifest/00000000000000000017.json.tmp",
            "x",
        ] {
            assert_eq!(manifest_version(other), None);
        }
        assert!(is_data(&data_path(20_000, 3, 1, 2, 0)));
        assert!(is_data(&data_path(20_000, 3, 1, 2, 7)));
        for other in [
            "events/day=2024-10-04/bucket=3/mine.parquet",
            "events/day=2024-10-04/bucket=x/1-2.parquet",
            "events/day=2024-10-04/1-2.parquet",
            "other/day=2024-10-04/bucket=3/1-2.parquet",
            "events/day=2024-10-04/bucket=3/1-2.csv",
            "events/day=2024-10-04/bucket=3/1-2-m3-4.parquet",
        ] {
            assert!(!is_data(other), "{other}");
        }
    }
}
