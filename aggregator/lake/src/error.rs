//! What can go wrong.

use arrow::error::ArrowError;
use parquet::errors::ParquetError;

/// Why the lake can't be used, or a part of it.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The address is none.
    #[error("{url}: {why}; give file:///FOLDER or s3://BUCKET[/FOLDER]")]
    Url {
        /// What was given, without what may be secret.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The folder can't be used.
    #[error("use the folder {folder}")]
    Folder {
        /// Which.
        folder: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store did not do what it was asked. Nothing is lost: the log has what the lake has not.
    #[error("{what} {path} in the lake")]
    Store {
        /// `read`, `write`, …
        what: &'static str,
        /// The object.
        path: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// A file that the manifest names is not there.
    #[error(
        "{path} is not in the lake, though its manifest names it: put it back, or make the lake anew"
    )]
    Missing {
        /// Which.
        path: String,
    },
    /// A file is shorter, or longer, than it was written.
    #[error(
        "{path} has {found} bytes and was written with {expected}: put back the whole file, or make the lake anew"
    )]
    Truncated {
        /// Which.
        path: String,
        /// Bytes that it was written with.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// A file is not what was written.
    #[error("{path} is no Parquet file of this lake: {why}")]
    Foreign {
        /// Which.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no thread to make or read a file.
    #[error("start a thread")]
    Thread(#[source] std::io::Error),
    /// A file can't be written.
    #[error("make a Parquet file")]
    Parquet(#[source] ParquetError),
    /// Rows can't be put together.
    #[error("put rows together")]
    Arrow(#[from] ArrowError),
    /// A manifest is none, or of a version that is not known here.
    #[error("{path} is no manifest that this version can read: {why}")]
    Manifest {
        /// Which.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The lake was made from another log.
    #[error(
        "the lake was made from the log {found}, this is the log {own}: give each aggregator a lake of its own (lake.url)"
    )]
    OtherLog {
        /// The lake's.
        found: String,
        /// The aggregator's.
        own: String,
    },
    /// Somebody else writes to the lake.
    #[error("another aggregator has written manifest {version} of the lake: one may write to it")]
    Replaced {
        /// The version that was to be written.
        version: u64,
    },
    /// Rows came that don't follow those before.
    #[error("rows from offset {from} on don't follow those up to {end}")]
    Gap {
        /// Where they begin.
        from: u64,
        /// Where those before ended.
        end: u64,
    },
}
