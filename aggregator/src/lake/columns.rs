//! From rows of the lake to events as questions read them.
//!
//! Texts come as numbers into a dictionary; each is looked up once for all rows of a dictionary that have it.

use std::collections::HashMap;

use arrow::array::{
    Array, ArrayRef, AsArray as _, DictionaryArray, Int32Array, Int64Array, MapArray, RecordBatch,
    StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::Int32Type;
use wakeline_engine::{Id, Kind, Money, country, country_code};
use wakeline_lake::{LakeError, Part};
use wakeline_query::{Batch, BatchEvent, Field, NO_SCROLL, Texts};
use xxhash_rust::xxh3::xxh3_64;

/// Columns that every question needs.
const ALWAYS: [&str; 10] = [
    "effect",
    "engagement_ms",
    "scroll_percent",
    "currency",
    "revenue",
    "stream",
    "seq",
    "client_id",
    "edge",
    "position",
];
/// Stands for a text that was not looked up yet.
const UNKNOWN: u32 = u32::MAX;

/// The column that has the texts of a field.
const fn column_of(field: &Field) -> &'static str {
    match field {
        Field::Page => "path",
        Field::Name => "name",
        Field::Hostname => "hostname",
        Field::Referrer => "referrer",
        Field::Custom(_) => "properties",
        Field::Source => "source",
        Field::UtmMedium => "utm_medium",
        Field::UtmSource => "utm_source",
        Field::UtmCampaign => "utm_campaign",
        Field::UtmContent => "utm_content",
        Field::UtmTerm => "utm_term",
        Field::Channel => "channel",
        Field::Device => "device",
        Field::Browser => "browser",
        Field::BrowserVersion => "browser_version",
        Field::Os => "os",
        Field::OsVersion => "os_version",
        Field::Country => "country",
        Field::Region => "region",
        Field::City => "city",
    }
}

/// The columns that are needed for `fields`, each once.
pub(super) fn columns(fields: &[Field]) -> Vec<&'static str> {
    let mut columns = ALWAYS.to_vec();
    for column in fields.iter().map(column_of) {
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    columns
}

/// Makes batches of rows.
pub(super) struct Columns<'a> {
    fields: &'a [Field],
    pub(super) texts: Texts,
    /// By source and field.
    known: HashMap<(usize, usize), Known>,
}

/// Numbers of the texts of a dictionary.
struct Known {
    /// Kept, so that no other takes its place in memory.
    dictionary: ArrayRef,
    numbers: Vec<u32>,
}

impl<'a> Columns<'a> {
    pub(super) fn new(fields: &'a [Field]) -> Self {
        Self {
            fields,
            texts: Texts::default(),
            known: HashMap::new(),
        }
    }

    /// About how much memory it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let known = self.known.values();
        self.texts.bytes() + known.map(|known| 4 * known.numbers.len()).sum::<usize>()
    }

    /// The rows of some visitors, visitor by visitor.
    pub(super) fn batch(&mut self, parts: &[Part]) -> Result<Batch, LakeError> {
        let mut batches = Vec::with_capacity(parts.len());
        // Rows of one visitor that come one after the other: whose, and where they are.
        let mut runs = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            batches.push(self.part(part)?);
            let mut first = 0;
            for run in part.visitors.chunk_by(|a, b| a == b) {
                runs.push((run[0], number, first..first + run.len()));
                first += run.len();
            }
        }
        runs.sort_unstable_by_key(|(visitor, number, _)| (*visitor, *number));
        let mut all = Batch::new(self.fields.len());
        for theirs in runs.chunk_by(|(a, ..), (b, ..)| a == b) {
            for (_, number, rows) in theirs {
                all.extend(&batches[*number], rows.clone());
            }
            all.end_visitor();
        }
        Ok(all)
    }

    /// The rows of a part, in their order.
    fn part(&mut self, part: &Part) -> Result<Batch, LakeError> {
        let rows = &part.rows;
        let mut batch = Batch::new(self.fields.len());
        for (number, field) in self.fields.iter().enumerate() {
            batch.texts[number] = match field {
                Field::Custom(name) => self.properties(rows, name)?,
                _ => self.column(part, number, field)?,
            };
        }
        let time: &TimestampMillisecondArray = column(rows, "time")?;
        let effect: &DictionaryArray<Int32Type> = column(rows, "effect")?;
        let kinds: Vec<Kind> = texts(effect)?
            .iter()
            .map(|name| kind(name.unwrap_or_default()))
            .collect();
        let engagement: &Int64Array = column(rows, "engagement_ms")?;
        let scroll: &Int32Array = column(rows, "scroll_percent")?;
        let ids = Ids::of(rows)?;
        let money = Amounts::of(rows)?;
        for row in 0..rows.num_rows() {
            let kind = effect.key(row).and_then(|key| kinds.get(key).copied());
            let kind = kind.unwrap_or(Kind::Passive);
            let scrolled = (kind == Kind::Engagement && scroll.is_valid(row))
                .then(|| scroll.value(row).clamp(0, NO_SCROLL.into()) as u8);
            let attention = engagement.is_valid(row).then(|| engagement.value(row));
            let event = BatchEvent {
                time_ms: time.value(row),
                id: ids.id(row),
                kind,
                engagement_ms: attention.map_or(0, |ms| u32::try_from(ms).unwrap_or(u32::MAX)),
                scroll: scrolled.unwrap_or(NO_SCROLL),
                order_value: money.of_row(row),
            };
            // Texts are there already.
            batch.push(&event, []);
        }
        Ok(batch)
    }

    /// Numbers of a field's texts, by row.
    fn column(&mut self, part: &Part, number: usize, field: &Field) -> Result<Vec<u32>, LakeError> {
        let column: &DictionaryArray<Int32Type> = column(&part.rows, column_of(field))?;
        let dictionary = column.values();
        let of_dictionary = texts(column)?;
        let known = self.known.entry((part.source, number));
        let known = known.or_insert_with(|| Known::new(dictionary));
        if !is_same(&known.dictionary, dictionary) {
            *known = Known::new(dictionary);
        }
        let mut numbers = Vec::with_capacity(column.len());
        for row in 0..column.len() {
            let Some(key) = column.key(row) else {
                numbers.push(0);
                continue;
            };
            let mut number = known.numbers[key];
            if number == UNKNOWN {
                let text = of_dictionary.value(key);
                number = match field {
                    // Only what is a code of a country: rollups keep no other.
                    Field::Country => self.texts.id(&country(country_code(text))),
                    _ => self.texts.id(text),
                };
                known.numbers[key] = number;
            }
            numbers.push(number);
        }
        Ok(numbers)
    }

    /// Numbers of the texts of a property, by row: of the first of that name.
    fn properties(&mut self, rows: &RecordBatch, name: &str) -> Result<Vec<u32>, LakeError> {
        let properties: &MapArray = column(rows, "properties")?;
        let keys = properties.keys().as_string_opt::<i32>();
        let values = properties.values().as_string_opt::<i32>();
        let (Some(keys), Some(values)) = (keys, values) else {
            return Err(foreign("properties"));
        };
        let offsets = properties.value_offsets();
        let mut numbers = Vec::with_capacity(properties.len());
        for row in 0..properties.len() {
            let theirs = offsets[row] as usize..offsets[row + 1] as usize;
            let mut theirs = theirs.filter(|_| properties.is_valid(row));
            let found = theirs.find(|at| keys.value(*at) == name);
            let text = found.filter(|at| values.is_valid(*at));
            numbers.push(text.map_or(0, |at| self.texts.id(values.value(at))));
        }
        Ok(numbers)
    }
}

impl Known {
    fn new(dictionary: &ArrayRef) -> Self {
        Self {
            numbers: vec![UNKNOWN; dictionary.len()],
            dictionary: dictionary.clone(),
        }
    }
}

/// Whether two dictionaries are one in memory.
fn is_same(a: &ArrayRef, b: &ArrayRef) -> bool {
    a.to_data().ptr_eq(&b.to_data())
}

/// What events are known by.
struct Ids<'a> {
    stream: &'a Int64Array,
    seq: &'a Int64Array,
    client: &'a DictionaryArray<Int32Type>,
    clients: &'a StringArray,
    edge: &'a Int64Array,
    position: &'a Int64Array,
}

impl<'a> Ids<'a> {
    fn of(rows: &'a RecordBatch) -> Result<Self, LakeError> {
        let client = column(rows, "client_id")?;
        Ok(Self {
            stream: column(rows, "stream")?,
            seq: column(rows, "seq")?,
            client,
            clients: texts(client)?,
            edge: column(rows, "edge")?,
            position: column(rows, "position")?,
        })
    }

    /// The id that the engine knew the event by, see `Origin::event`.
    fn id(&self, row: usize) -> Id {
        let number = |column: &Int64Array| {
            if column.is_valid(row) {
                column.value(row) as u64
            } else {
                0
            }
        };
        if self.stream.is_valid(row) {
            return Id::Stream {
                stream: number(self.stream),
                seq: number(self.seq),
            };
        }
        match self.client.key(row) {
            Some(key) => Id::Client(xxh3_64(self.clients.value(key).as_bytes())),
            None => Id::Position {
                edge: number(self.edge),
                position: number(self.position),
            },
        }
    }
}

/// What orders are worth.
struct Amounts<'a> {
    minor: &'a Int64Array,
    currency: &'a DictionaryArray<Int32Type>,
    currencies: &'a StringArray,
}

impl<'a> Amounts<'a> {
    fn of(rows: &'a RecordBatch) -> Result<Self, LakeError> {
        let currency = column(rows, "currency")?;
        Ok(Self {
            minor: column(rows, "revenue")?,
            currency,
            currencies: texts(currency)?,
        })
    }

    fn of_row(&self, row: usize) -> Option<Money> {
        let minor = self.minor.is_valid(row).then(|| self.minor.value(row))?;
        let currency = self.currencies.value(self.currency.key(row)?);
        Some(Money {
            currency: currency.as_bytes().try_into().ok()?,
            minor,
        })
    }
}

fn kind(effect: &str) -> Kind {
    [Kind::Pageview, Kind::Interactive, Kind::Engagement]
        .into_iter()
        .find(|kind| super::rows::effect(*kind) == effect)
        .unwrap_or(Kind::Passive)
}

fn column<'a, A: Array + 'static>(rows: &'a RecordBatch, name: &str) -> Result<&'a A, LakeError> {
    let found = rows.column_by_name(name);
    let found = found.and_then(|column| column.as_any().downcast_ref());
    found.ok_or_else(|| foreign(name))
}

fn texts(column: &DictionaryArray<Int32Type>) -> Result<&StringArray, LakeError> {
    let texts = column.values().as_string_opt();
    texts.ok_or_else(|| foreign("a column of texts"))
}

fn foreign(column: &str) -> LakeError {
    LakeError::Foreign {
        path: "what was read".to_owned(),
        why: format!("{column} is not as in events"),
    }
}
