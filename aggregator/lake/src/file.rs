//! Rows in order, and Parquet files of them.
//!
//! A file's rows are in order of site, visitor, time, and place in the log; its row groups are small enough that a site, or
//! a visitor, of a large file is found by their statistics.

use std::sync::OnceLock;

use arrow::array::{
    Array as _, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::LakeError;
use crate::manifest::DataFile;
use crate::schema::{self, conform, schema};
use crate::store::Store;

/// Rows of a row group.
const GROUP_ROWS: usize = 128 << 10;
/// Rows that are read and written at once.
pub(crate) const BATCH_ROWS: usize = 8 << 10;
/// Bytes of a column's dictionary: enough for the visitors of a row group.
const DICTIONARY_BYTES: usize = 4 << 20;
/// Compression: higher ones take much longer and save little.
const ZSTD_LEVEL: i32 = 6;
/// Key of the file's metadata with the version of its columns.
const SCHEMA_KEY: &str = "wakeline.events.schema";

/// The columns by which rows are ordered and told apart.
pub(crate) struct Keys<'a> {
    site: &'a Int64Array,
    visitor: &'a StringArray,
    time: &'a TimestampMillisecondArray,
    day: &'a Date32Array,
    offset: &'a Int64Array,
    place: &'a Int32Array,
}

/// The order of rows: site, visitor, time, record, place in it.
pub(crate) type Order<'a> = (i64, &'a str, i64, i64, i32);

impl<'a> Keys<'a> {
    /// Of rows of this version's schema; `None` if they are no such rows.
    pub(crate) fn of(rows: &'a RecordBatch) -> Option<Self> {
        static PLACES: OnceLock<[Option<usize>; 6]> = OnceLock::new();
        let places = PLACES.get_or_init(|| {
            let names = ["site", "visitor", "time", "day", "log_offset", "log_place"];
            names.map(|name| schema().index_of(name).ok())
        });
        Some(Self {
            site: column(rows, places[0])?,
            visitor: column(rows, places[1])?,
            time: column(rows, places[2])?,
            day: column(rows, places[3])?,
            offset: column(rows, places[4])?,
            place: column(rows, places[5])?,
        })
    }

    pub(crate) fn order(&self, row: usize) -> Order<'a> {
        (
            self.site.value(row),
            self.visitor(row),
            self.time(row),
            self.offset.value(row),
            self.place.value(row),
        )
    }

    pub(crate) fn site(&self, row: usize) -> u64 {
        self.site.value(row) as u64
    }

    /// Empty where it is null, as of no row that was written here.
    pub(crate) fn visitor(&self, row: usize) -> &'a str {
        if self.visitor.is_null(row) {
            return "";
        }
        self.visitor.value(row)
    }

    pub(crate) fn time(&self, row: usize) -> i64 {
        self.time.value(row)
    }

    pub(crate) fn day(&self, row: usize) -> i32 {
        self.day.value(row)
    }
}

fn column<A: 'static>(rows: &RecordBatch, place: Option<usize>) -> Option<&A> {
    rows.columns().get(place?)?.as_any().downcast_ref()
}

fn properties() -> WriterProperties {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).unwrap_or_default();
    let order = (0..3).map(|column_idx| SortingColumn {
        column_idx,
        descending: false,
        nulls_first: true,
    });
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_sorting_columns(Some(order.collect()))
        .set_key_value_metadata(Some(vec![KeyValue::new(
            SCHEMA_KEY.to_owned(),
            schema::VERSION.to_string(),
        )]));
    // Nearly every row has a value of its own: differences are smaller than a dictionary.
    for name in ["time", "position"] {
        let column = ColumnPath::from(name);
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
    }
    properties.build()
}

/// Writes rows, which come in order, to a file.
pub(crate) struct Writer {
    parquet: ArrowWriter<Vec<u8>>,
    rows: u64,
    /// Lowest and highest.
    sites: (u64, u64),
}

/// A file that is not stored yet.
pub(crate) struct Made {
    pub(crate) bytes: Bytes,
    pub(crate) rows: u64,
    pub(crate) min_site: u64,
    pub(crate) max_site: u64,
}

impl Writer {
    pub(crate) fn new() -> Result<Self, LakeError> {
        let parquet = ArrowWriter::try_new(Vec::new(), schema(), Some(properties()));
        Ok(Self {
            parquet: parquet.map_err(LakeError::Parquet)?,
            rows: 0,
            sites: (u64::MAX, 0),
        })
    }

    pub(crate) fn write(&mut self, rows: &RecordBatch) -> Result<(), LakeError> {
        if let Some(keys) = Keys::of(rows) {
            for row in 0..rows.num_rows() {
                let site = keys.site(row);
                self.sites = (self.sites.0.min(site), self.sites.1.max(site));
            }
        }
        self.rows += rows.num_rows() as u64;
        self.parquet.write(rows).map_err(LakeError::Parquet)
    }

    /// `None` if no rows came.
    pub(crate) fn finish(self) -> Result<Option<Made>, LakeError> {
        if self.rows == 0 {
            return Ok(None);
        }
        let bytes = self.parquet.into_inner().map_err(LakeError::Parquet)?;
        Ok(Some(Made {
            bytes: bytes.into(),
            rows: self.rows,
            min_site: self.sites.0,
            max_site: self.sites.1,
        }))
    }
}

/// What the manifest says of a file's content.
pub(crate) fn checksum(bytes: &[u8]) -> String {
    of_hash(xxh3_64(bytes))
}

fn of_hash(hash: u64) -> String {
    format!("{hash:016x}")
}

/// Checks that what is stored as `file` is what was written, without holding it. Parquet alone does not tell: its pages have
/// no checksums, and other values are values, too.
pub(crate) async fn check(store: &Store, file: &DataFile) -> Result<(), LakeError> {
    let (mut hash, mut found) = (Xxh3::new(), 0);
    let parts = store.parts(&file.path, |part| {
        hash.update(part);
        found += part.len() as u64;
    });
    parts.await?;
    compare(file, found, || of_hash(hash.digest()))
}

fn compare(
    file: &DataFile,
    found: u64,
    checksum: impl FnOnce() -> String,
) -> Result<(), LakeError> {
    if found != file.bytes {
        return Err(LakeError::Truncated {
            path: file.path.clone(),
            expected: file.bytes,
            found,
        });
    }
    if checksum() != file.checksum {
        return Err(LakeError::Foreign {
            path: file.path.clone(),
            why: "its content is not what was written".to_owned(),
        });
    }
    Ok(())
}

/// Reads a file that the manifest names, rows of this version's schema.
pub(crate) struct Reader {
    path: String,
    parquet: ParquetRecordBatchReader,
}

impl Reader {
    /// Checks first that `bytes` are what was written as `file`.
    pub(crate) fn new(file: &DataFile, bytes: Bytes) -> Result<Self, LakeError> {
        // What reads Parquet may panic on bytes that are none.
        compare(file, bytes.len() as u64, || checksum(&bytes))?;
        let foreign = |error: ParquetError| LakeError::Foreign {
            path: file.path.clone(),
            why: error.to_string(),
        };
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(foreign)?;
        let found = builder.metadata().file_metadata();
        let ours = found
            .key_value_metadata()
            .is_some_and(|keys| keys.iter().any(|entry| entry.key == SCHEMA_KEY));
        if !ours || found.num_rows() != file.rows as i64 {
            return Err(LakeError::Foreign {
                path: file.path.clone(),
                why: format!("it has {} rows, and another writer", found.num_rows()),
            });
        }
        let parquet = builder.with_batch_size(BATCH_ROWS).build();
        Ok(Self {
            path: file.path.clone(),
            parquet: parquet.map_err(foreign)?,
        })
    }
}

impl Iterator for Reader {
    type Item = Result<RecordBatch, LakeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = match self.parquet.next()? {
            Ok(rows) => rows,
            Err(error) => {
                return Some(Err(LakeError::Foreign {
                    path: self.path.clone(),
                    why: error.to_string(),
                }));
            }
        };
        Some(conform(&rows).ok_or_else(|| LakeError::Foreign {
            path: self.path.clone(),
            why: "its columns are not those of events".to_owned(),
        }))
    }
}
