//! A file of which parts are read.

use std::fmt;
use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::{Field, Schema};
use bytes::Bytes;
use parquet::DecodeResult;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions, RowFilter,
};
use parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataPushDecoder, RowGroupMetaData,
};
use parquet::file::statistics::Statistics;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::{Filter, as_dictionary};
use crate::LakeError;
use crate::file::check;
use crate::manifest::DataFile;
use crate::store::Store;

/// Bytes at a file's end that are read at once: most footers are shorter.
const FOOTER_BYTES: u64 = 64 << 10;
/// Memory for footers of files that were read lately.
const FOOTERS_BYTES: u64 = 64 << 20;
/// Files whose footers may be in memory, about.
const FOOTERS: usize = 4_096;

/// What is known of files that were read lately.
pub(crate) struct Footers(Cache<String, ArrowReaderMetadata, ByBytes>);

#[derive(Clone)]
struct ByBytes;

impl Weighter<String, ArrowReaderMetadata> for ByBytes {
    fn weight(&self, path: &String, footer: &ArrowReaderMetadata) -> u64 {
        (path.len() + footer.metadata().memory_size()) as u64
    }
}

impl Default for Footers {
    fn default() -> Self {
        Self(Cache::with_weighter(FOOTERS, FOOTERS_BYTES, ByBytes))
    }
}

impl fmt::Debug for Footers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Footers").field(&self.0.len()).finish()
    }
}

/// Reads what is wanted of a file.
pub(super) struct FileReader {
    store: Store,
    path: String,
    decoder: ParquetPushDecoder,
}

impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileReader").field(&self.path).finish()
    }
}

impl FileReader {
    /// Opens a file, to be read by `rows` rows. One that was not read lately is read as a whole first, to see that it is
    /// what was written.
    pub(super) async fn open(
        store: &Store,
        footers: &Footers,
        file: &DataFile,
        filter: &Filter,
        rows: usize,
    ) -> Result<Self, LakeError> {
        // Another file may take the place of one that no manifest names.
        let key = format!("{} {}", file.path, file.checksum);
        let footer = if let Some(footer) = footers.0.get(&key) {
            footer
        } else {
            check(store, file).await?;
            let footer = read_footer(store, file).await?;
            footers.0.insert(key, footer.clone());
            footer
        };
        let decoder = decoder(&footer, filter, rows);
        Ok(Self {
            decoder: decoder.map_err(|error| foreign(&file.path, &error))?,
            store: store.clone(),
            path: file.path.clone(),
        })
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn foreign(&self, why: &str) -> LakeError {
        foreign(&self.path, &why)
    }

    /// Memory that waits to be decoded, in bytes.
    pub(super) fn buffered(&self) -> usize {
        self.decoder.buffered_bytes() as usize
    }

    /// The next rows of the site; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>, LakeError> {
        loop {
            let decoded = self.decoder.try_decode();
            match decoded.map_err(|error| foreign(&self.path, &error))? {
                DecodeResult::Data(rows) => return Ok(Some(rows)),
                DecodeResult::Finished => return Ok(None),
                DecodeResult::NeedsData(ranges) => {
                    let bytes = self.store.ranges(&self.path, &ranges).await?;
                    let pushed = self.decoder.push_ranges(ranges, bytes);
                    pushed.map_err(|error| foreign(&self.path, &error))?;
                }
            }
        }
    }
}

fn foreign(path: &str, why: &impl ToString) -> LakeError {
    LakeError::Foreign {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

async fn read_footer(store: &Store, file: &DataFile) -> Result<ArrowReaderMetadata, LakeError> {
    let told = |error: ParquetError| foreign(&file.path, &error);
    let decoder = ParquetMetaDataPushDecoder::try_new(file.bytes).map_err(told)?;
    let mut decoder = decoder
        .with_column_index_policy(PageIndexPolicy::Skip)
        .with_offset_index_policy(PageIndexPolicy::Optional);
    let end = file.bytes.saturating_sub(FOOTER_BYTES)..file.bytes;
    let mut ranges = Vec::from([end]);
    loop {
        let bytes: Vec<Bytes> = store.ranges(&file.path, &ranges).await?;
        decoder.push_ranges(ranges, bytes).map_err(told)?;
        match decoder.try_decode().map_err(told)? {
            DecodeResult::NeedsData(more) => ranges = more,
            DecodeResult::Data(footer) => return with_dictionaries(footer).map_err(told),
            DecodeResult::Finished => return Err(foreign(&file.path, &"it has no footer")),
        }
    }
}

/// Has texts read as they are stored: as numbers of texts.
fn with_dictionaries(footer: ParquetMetaData) -> Result<ArrowReaderMetadata, ParquetError> {
    let footer = Arc::new(footer);
    let plain = ArrowReaderMetadata::try_new(Arc::clone(&footer), ArrowReaderOptions::new())?;
    let fields = plain.schema().fields().iter();
    let fields: Vec<Field> = fields.map(|field| as_dictionary(field)).collect();
    let schema = Schema::new_with_metadata(fields, plain.schema().metadata().clone());
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
    ArrowReaderMetadata::try_new(footer, options)
}

fn decoder(
    footer: &ArrowReaderMetadata,
    filter: &Filter,
    rows: usize,
) -> Result<ParquetPushDecoder, ParquetError> {
    let parquet = footer.parquet_schema();
    let leaf = |name: &str| {
        let mut columns = parquet.columns().iter();
        columns.position(|column| column.path().string() == name)
    };
    let (site, time) = (leaf("site"), leaf("time"));
    let (mut groups, mut mixed) = (Vec::new(), false);
    for (number, group) in footer.metadata().row_groups().iter().enumerate() {
        let (first, last) = bounds(group, site).unwrap_or((i64::MIN, i64::MAX));
        let (earliest, latest) = bounds(group, time).unwrap_or((i64::MIN, i64::MAX));
        if (first..=last).contains(&filter.site)
            && earliest < filter.times.end
            && latest >= filter.times.start
        {
            groups.push(number);
            mixed |= first != last;
        }
    }
    let roots = filter.schema.fields().iter();
    let roots = roots.filter_map(|field| footer.schema().index_of(field.name()).ok());
    let projection = ProjectionMask::roots(parquet, roots);
    let others = mixed.then(|| {
        let column = ProjectionMask::leaves(parquet, site);
        let wanted = filter.site;
        let own = ArrowPredicateFn::new(column, move |rows: RecordBatch| {
            let sites = rows.columns().first();
            let sites: Option<&Int64Array> = sites.and_then(|sites| sites.as_any().downcast_ref());
            let own =
                |sites: &Int64Array| sites.iter().map(|at| Some(at == Some(wanted))).collect();
            Ok(sites.map_or_else(|| BooleanArray::from(vec![false; rows.num_rows()]), own))
        });
        RowFilter::new(vec![Box::new(own)])
    });
    let mut builder = ParquetPushDecoderBuilder::new_with_metadata(footer.clone())
        .with_batch_size(rows)
        .with_row_groups(groups)
        .with_projection(projection);
    if let Some(others) = others {
        builder = builder.with_row_filter(others);
    }
    builder.build()
}

/// Lowest and highest value of a column of numbers.
fn bounds(group: &RowGroupMetaData, column: Option<usize>) -> Option<(i64, i64)> {
    match group.column(column?).statistics()? {
        Statistics::Int64(known) => Some((*known.min_opt()?, *known.max_opt()?)),
        _ => None,
    }
}
