//! The events of a site between two instants, visitor by visitor.
//!
//! Every file is in order of visitors, but has one day only. A scan goes through all that may have what is wanted at once, as
//! one goes through several phone books: up to the first visitor of whom one of them may have more to come, everybody's rows are
//! complete, and are given. So of each file a few rows are in memory, however many there are.
//!
//! Which files are opened says the manifest, which parts of them (row groups) their statistics; of these only the columns that
//! are asked for are read, and of columns only the pages that have rows of the site.

mod file;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, BooleanArray, DictionaryArray, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray, UInt64Array, new_null_array,
};
use arrow::compute::{cast, filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use futures_util::{StreamExt as _, TryStreamExt as _};

use self::file::FileReader;
pub(crate) use self::file::Footers;
use crate::lake::{Lake, Snapshot};
use crate::manifest::{DataFile, Manifest};
use crate::{LakeError, schema};

/// Files that are waited for at once.
const AT_ONCE: usize = 16;
/// Rows that are held of all sources together, about.
const HELD_ROWS: usize = 256 << 10;
/// Rows of a source that are held, at least …
const MIN_ROWS: usize = 512;
/// … and at most.
const MAX_ROWS: usize = 8 << 10;
const DAY_MS: i64 = 86_400_000;
/// No clock is further from UTC, in ms.
const MAX_OFFSET_MS: i64 = 26 * 3_600_000;

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Of which site.
    pub site: u64,
    /// Of which times, in ms since 1970-01-01 UTC.
    pub times: Range<i64>,
    /// Which columns, beside `visitor` and `time`.
    pub columns: Vec<&'static str>,
}

/// Rows of one source, in order of visitors.
#[derive(Clone, Debug)]
pub struct Part {
    /// Which source: rows of one source may share their texts.
    pub source: usize,
    /// Whose each row is: the column `visitor`, as a number.
    pub visitors: Vec<u128>,
    /// `visitor`, `time`, and the columns that are wanted, in their order; texts as dictionaries with keys of 32 bits.
    pub rows: RecordBatch,
}

/// A way through the events that are wanted.
#[derive(Debug)]
pub struct Scan {
    filter: Filter,
    sources: Vec<Source>,
}

impl Lake {
    /// Begins to read what is wanted of `snapshot`, and of `beyond`: rows of the log that the snapshot does not have.
    pub async fn scan(
        &self,
        snapshot: &Snapshot,
        beyond: &[RecordBatch],
        wanted: &Wanted,
    ) -> Result<Scan, LakeError> {
        let filter = Filter::new(&snapshot.manifest, wanted)?;
        let mut sources: Vec<Source> = Vec::new();
        let tail = snapshot.tail.iter().map(|tail| &tail.rows);
        for rows in tail.chain(beyond) {
            if let Some(held) = filter.of_log(rows)? {
                sources.push(Source::of_rows(held));
            }
        }
        let days = days(&wanted.times);
        let files = snapshot.manifest.files_of(wanted.site);
        let files: Vec<&DataFile> = files.filter(|file| days.contains(&file.day)).collect();
        let rows = HELD_ROWS / files.len().max(1);
        let rows = rows.clamp(MIN_ROWS, MAX_ROWS);
        let opened = futures_util::stream::iter(&files)
            .map(|file| FileReader::open(&self.store, &self.footers, file, &filter, rows))
            .buffered(AT_ONCE);
        let opened: Vec<FileReader> = opened.try_collect().await?;
        sources.extend(opened.into_iter().map(|file| Source::of_file(file, rows)));
        Ok(Scan { filter, sources })
    }
}

impl Scan {
    /// All rows that are wanted of some more visitors, by source; none when there are no more.
    pub async fn next(&mut self) -> Result<Vec<Part>, LakeError> {
        loop {
            self.load(|source| source.held.is_empty()).await?;
            let unfinished = self.sources.iter().filter(|source| source.file.is_some());
            let bound = unfinished.filter_map(Source::last).min();
            let sources = self.sources.iter_mut().enumerate();
            let parts: Vec<Part> = sources
                .flat_map(|(number, source)| source.take(number, bound))
                .collect();
            if !parts.is_empty() || bound.is_none() {
                return Ok(parts);
            }
            // A visitor has more rows than are held.
            self.load(|source| source.last() == bound).await?;
        }
    }

    /// Has those sources hold more that are not at their end.
    async fn load(&mut self, which: impl Fn(&Source) -> bool) -> Result<(), LakeError> {
        let filter = &self.filter;
        let sources = self.sources.iter_mut();
        let short = sources.filter(|source| source.file.is_some() && which(source));
        futures_util::stream::iter(short)
            .map(|source| source.load(filter))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Memory that is held, about, in bytes.
    pub fn bytes(&self) -> usize {
        self.sources.iter().map(Source::bytes).sum()
    }
}

/// Local days on which these times can be.
fn days(times: &Range<i64>) -> Range<i32> {
    let day = |ms: i64| {
        ms.div_euclid(DAY_MS)
            .clamp(i32::MIN.into(), i32::MAX.into()) as i32
    };
    let first = day(times.start.saturating_sub(MAX_OFFSET_MS));
    first..day(times.end.saturating_add(MAX_OFFSET_MS)).saturating_add(1)
}

/// Some rows, and whose they are.
#[derive(Debug)]
struct Held {
    visitors: Vec<u128>,
    rows: RecordBatch,
}

/// A file, or what the log has beside files.
#[derive(Debug)]
struct Source {
    /// Until its end is reached.
    file: Option<FileReader>,
    /// Read at once, if there are so many.
    rows: usize,
    held: VecDeque<Held>,
}

impl Source {
    fn of_rows(held: Held) -> Self {
        Self {
            file: None,
            rows: 0,
            held: VecDeque::from([held]),
        }
    }

    fn of_file(file: FileReader, rows: usize) -> Self {
        Self {
            file: Some(file),
            rows,
            held: VecDeque::new(),
        }
    }

    /// Whose the last row is of those that are held.
    fn last(&self) -> Option<u128> {
        self.held.back()?.visitors.last().copied()
    }

    fn bytes(&self) -> usize {
        let held = self.held.iter();
        // Dictionaries are shared by what is held: one counts.
        let widest = held.map(|held| held.rows.get_array_memory_size() + 16 * held.visitors.len());
        let buffered = self.file.as_ref().map_or(0, FileReader::buffered);
        widest.max().unwrap_or(0) * self.held.len().min(2) + buffered
    }

    /// Holds more rows, up to the end of the file.
    async fn load(&mut self, filter: &Filter) -> Result<(), LakeError> {
        let mut loaded = 0;
        while let Some(file) = &mut self.file
            && loaded < self.rows
        {
            let Some(rows) = file.next().await? else {
                self.file = None;
                break;
            };
            let Some(held) = filter.of_file(&rows, file.path())? else {
                continue;
            };
            let before = self.held.back().and_then(|held| held.visitors.last());
            if before > held.visitors.first() {
                return Err(file.foreign("its visitors are not in order"));
            }
            loaded += held.visitors.len();
            self.held.push_back(held);
        }
        Ok(())
    }

    /// Gives the rows of visitors before `bound`; `None`: all.
    fn take(&mut self, source: usize, bound: Option<u128>) -> Vec<Part> {
        let mut parts = Vec::new();
        while let Some(held) = self.held.front_mut() {
            let all = held.visitors.len();
            let taken = bound.map_or(all, |bound| {
                held.visitors.partition_point(|visitor| *visitor < bound)
            });
            if taken > 0 {
                let rest = held.visitors.split_off(taken);
                parts.push(Part {
                    source,
                    visitors: std::mem::replace(&mut held.visitors, rest),
                    rows: held.rows.slice(0, taken),
                });
                held.rows = held.rows.slice(taken, all - taken);
            }
            if taken < all {
                break;
            }
            self.held.pop_front();
        }
        parts
    }
}

/// Which rows are wanted, and what of them.
#[derive(Debug)]
struct Filter {
    site: i64,
    times: Range<i64>,
    /// Of the rows that are given.
    schema: SchemaRef,
    /// Persons of the site that are erased, and up to which time.
    erased: HashMap<u128, i64>,
}

impl Filter {
    fn new(manifest: &Manifest, wanted: &Wanted) -> Result<Self, LakeError> {
        let all = schema::schema();
        let names = ["visitor", "time"].into_iter();
        let fields: Result<Vec<Field>, _> = names
            .chain(wanted.columns.iter().copied())
            .map(|name| all.field_with_name(name).map(as_dictionary))
            .collect();
        let erased = manifest.erased.iter();
        let erased = erased.filter(|tomb| tomb.site == wanted.site);
        Ok(Self {
            site: wanted.site as i64,
            times: wanted.times.clone(),
            schema: Arc::new(Schema::new(fields?)),
            erased: erased
                .filter_map(|tomb| Some((number(&tomb.visitor)?, tomb.until_ms)))
                .collect(),
        })
    }

    /// What is wanted of rows of a file, which are of the site.
    fn of_file(&self, rows: &RecordBatch, path: &str) -> Result<Option<Held>, LakeError> {
        let foreign = || LakeError::Foreign {
            path: path.to_owned(),
            why: "its columns are not those of events".to_owned(),
        };
        let rows = self.project(rows)?.ok_or_else(foreign)?;
        let visitors = visitors(&rows).ok_or_else(foreign)?;
        if !visitors.is_sorted() {
            return Err(LakeError::Foreign {
                path: path.to_owned(),
                why: "its visitors are not in order".to_owned(),
            });
        }
        self.keep(rows, visitors)
    }

    /// What is wanted of rows as they were logged.
    fn of_log(&self, rows: &RecordBatch) -> Result<Option<Held>, LakeError> {
        let broken = || LakeError::Foreign {
            path: "the newest rows".to_owned(),
            why: "their columns are not those of events".to_owned(),
        };
        let sites: &Int64Array = column(rows, "site").ok_or_else(broken)?;
        let own: BooleanArray = sites
            .iter()
            .map(|site| Some(site == Some(self.site)))
            .collect();
        if own.true_count() == 0 {
            return Ok(None);
        }
        let rows = filter_record_batch(rows, &own)?;
        let rows = self.project(&rows)?.ok_or_else(broken)?;
        let unsorted = visitors(&rows).ok_or_else(broken)?;
        let mut order: Vec<u64> = (0..rows.num_rows() as u64).collect();
        order.sort_by_key(|row| unsorted[*row as usize]);
        let visitors = order.iter().map(|row| unsorted[*row as usize]).collect();
        let rows = take_record_batch(&rows, &UInt64Array::from(order))?;
        self.keep(rows, visitors)
    }

    /// Leaves out what is of other times, or erased.
    fn keep(&self, rows: RecordBatch, visitors: Vec<u128>) -> Result<Option<Held>, LakeError> {
        let times: Option<&TimestampMillisecondArray> = column(&rows, "time");
        let times = times.map_or(&[][..], |times| times.values());
        let wanted = |visitor: &u128, time: &i64| {
            let erased = || self.erased.get(visitor).is_some_and(|until| time <= until);
            self.times.contains(time) && (self.erased.is_empty() || !erased())
        };
        let wanted: Vec<bool> = visitors
            .iter()
            .zip(times)
            .map(|(visitor, time)| wanted(visitor, time))
            .collect();
        if wanted.iter().all(|wanted| *wanted) {
            return Ok((rows.num_rows() > 0).then_some(Held { visitors, rows }));
        }
        let mut kept = wanted.iter();
        let mut visitors = visitors;
        visitors.retain(|_| kept.next().copied().unwrap_or_default());
        let rows = filter_record_batch(&rows, &BooleanArray::from(wanted))?;
        Ok((rows.num_rows() > 0).then_some(Held { visitors, rows }))
    }

    /// The columns that are given; `None` if one is missing that has to be there.
    fn project(&self, rows: &RecordBatch) -> Result<Option<RecordBatch>, LakeError> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            columns.push(match rows.column_by_name(field.name()) {
                Some(found) if found.data_type() == field.data_type() => Arc::clone(found),
                Some(found) => cast(found, field.data_type())?,
                // Of a version before the column was.
                None if field.is_nullable() => new_null_array(field.data_type(), rows.num_rows()),
                None => return Ok(None),
            });
        }
        let schema = Arc::clone(&self.schema);
        Ok(Some(RecordBatch::try_new(schema, columns)?))
    }
}

/// A column of texts as one of numbers of texts.
fn as_dictionary(field: &Field) -> Field {
    match field.data_type() {
        DataType::Utf8 => {
            let texts = DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into());
            field.clone().with_data_type(texts)
        }
        _ => field.clone(),
    }
}

fn column<'a, A: 'static>(rows: &'a RecordBatch, name: &str) -> Option<&'a A> {
    rows.column_by_name(name)?.as_any().downcast_ref()
}

/// A visitor's hash.
fn number(visitor: &str) -> Option<u128> {
    u128::from_str_radix(visitor, 16).ok()
}

/// Whose each row is; `None` if that is told of none, or in another form.
fn visitors(rows: &RecordBatch) -> Option<Vec<u128>> {
    let column: &DictionaryArray<Int32Type> = column(rows, "visitor")?;
    let texts: &StringArray = column.values().as_any().downcast_ref()?;
    let mut visitors = Vec::with_capacity(column.len());
    let (mut before, mut visitor) = (None, 0);
    for key in column.keys_iter() {
        let key = key?;
        // Rows of one come one after the other.
        if before != Some(key) {
            visitor = number(texts.value(key))?;
            before = Some(key);
        }
        visitors.push(visitor);
    }
    Some(visitors)
}
