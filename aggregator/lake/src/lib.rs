//! Every counted event as Parquet.
//!
//! A [`Lake`] is a folder or an S3 bucket with files of rows of one table, [`schema::schema`], and a manifest that names
//! those that are valid. It takes the counted events of a log in its order, keeps them in memory until they are worth a
//! file, and says up to which offset of the log it has them, so that whoever feeds it goes on there after a crash.
//!
//! Files are named by day, bucket of sites, and the offsets of the log that their rows come from. Their rows are in order of
//! site, visitor and time. Each is readable by itself with whatever reads Parquet; which are valid, [`Manifest`] says.
//!
//! The crate knows neither aggregator nor clock: who uses it decides when to [`flush`](Lake::flush),
//! [`compact`](Lake::compact), [`expire`](Lake::expire) and [`clean`](Lake::clean).

mod error;
mod file;
mod flush;
mod lake;
mod maintain;
pub mod manifest;
mod merge;
mod scan;
pub mod schema;
mod store;

pub use error::LakeError;
pub use lake::{Lake, Snapshot, Tail};
pub use maintain::ErasedEvents;
pub use manifest::Manifest;
pub use scan::{Part, Scan, Wanted};
pub use schema::{Event, Item, Rows};
pub use store::{S3Options, Store};
