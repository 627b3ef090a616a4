//! The table `events`: its columns, in one place, with their types and meanings.
//!
//! The schema only grows. A column keeps its name, type and meaning for ever; a new one may be null, since files written
//! before it do not have it. [`VERSION`] counts the additions. What a column means stands in its field's metadata as
//! `description`, also in the files.
//!
//! Texts that are empty are null. Numbers that are unsigned elsewhere (ids of sites, streams and edges) stand as their
//! 64 bits in a signed column, since not every reader of Parquet knows unsigned ones.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arrow::array::{
    ArrayBuilder, ArrayRef, BooleanBuilder, Date32Builder, Int32Builder, Int64Builder, ListBuilder,
    MapBuilder, MapFieldNames, RecordBatch, StringBuilder, StructBuilder,
    TimestampMillisecondBuilder,
};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

/// Grows with each column that is added.
pub const VERSION: u32 = 1;

/// A kind of column.
trait Column {
    /// What a row has in it.
    type Value<'a>;
    type Builder: ArrayBuilder;

    fn data_type() -> DataType;
    fn nullable() -> bool;
    fn builder() -> Self::Builder;
    fn push(builder: &mut Self::Builder, value: Self::Value<'_>);
}

/// Implements [`Column`] for what is a value or null.
macro_rules! plain {
    ($kind:ident, $value:ty, $builder:ty, $nullable:expr, $data_type:expr, $build:expr, $push:expr) => {
        impl Column for $kind {
            type Value<'a> = $value;
            type Builder = $builder;

            fn data_type() -> DataType {
                $data_type
            }

            fn nullable() -> bool {
                $nullable
            }

            fn builder() -> $builder {
                $build
            }

            fn push(builder: &mut $builder, value: $value) {
                let push: fn(&mut $builder, $value) = $push;
                push(builder, value);
            }
        }
    };
}

struct Long;
struct MaybeLong;
struct MaybeInt;
struct Text;
struct Flag;
struct Instant;
struct Day;
struct MaybeDay;
struct Properties;
struct Items;

fn utc_ms() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

plain!(
    Long,
    i64,
    Int64Builder,
    false,
    DataType::Int64,
    Int64Builder::with_capacity(0),
    |to, value| to.append_value(value)
);
plain!(
    MaybeLong,
    Option<i64>,
    Int64Builder,
    true,
    DataType::Int64,
    Int64Builder::with_capacity(0),
    |to, value| to.append_option(value)
);
plain!(
    MaybeInt,
    Option<i32>,
    Int32Builder,
    true,
    DataType::Int32,
    Int32Builder::with_capacity(0),
    |to, value| to.append_option(value)
);
plain!(
    Flag,
    bool,
    BooleanBuilder,
    false,
    DataType::Boolean,
    BooleanBuilder::with_capacity(0),
    |to, value| to.append_value(value)
);
plain!(
    Instant,
    i64,
    TimestampMillisecondBuilder,
    false,
    utc_ms(),
    TimestampMillisecondBuilder::with_capacity(0).with_timezone("UTC"),
    |to, value| to.append_value(value)
);
plain!(
    Day,
    i32,
    Date32Builder,
    false,
    DataType::Date32,
    Date32Builder::with_capacity(0),
    |to, value| to.append_value(value)
);
plain!(
    MaybeDay,
    Option<i32>,
    Date32Builder,
    true,
    DataType::Date32,
    Date32Builder::with_capacity(0),
    |to, value| to.append_option(value)
);

impl Column for Text {
    type Value<'a> = &'a str;
    type Builder = StringBuilder;

    fn data_type() -> DataType {
        DataType::Utf8
    }

    fn nullable() -> bool {
        true
    }

    fn builder() -> StringBuilder {
        StringBuilder::with_capacity(0, 0)
    }

    fn push(builder: &mut StringBuilder, value: &str) {
        builder.append_option((!value.is_empty()).then_some(value));
    }
}

fn map_names() -> MapFieldNames {
    MapFieldNames {
        entry: "key_value".to_owned(),
        key: "key".to_owned(),
        value: "value".to_owned(),
    }
}

impl Column for Properties {
    type Value<'a> = &'a [(&'a str, String)];
    type Builder = MapBuilder<StringBuilder, StringBuilder>;

    fn data_type() -> DataType {
        let entry = Fields::from(vec![
            Field::new("key", DataType::Utf8, false),
            Field::new("value", DataType::Utf8, true),
        ]);
        let entries = Field::new("key_value", DataType::Struct(entry), false);
        DataType::Map(Arc::new(entries), false)
    }

    fn nullable() -> bool {
        true
    }

    fn builder() -> Self::Builder {
        MapBuilder::new(
            Some(map_names()),
            StringBuilder::with_capacity(0, 0),
            StringBuilder::with_capacity(0, 0),
        )
    }

    fn push(builder: &mut Self::Builder, value: &[(&str, String)]) {
        for (name, value) in value {
            builder.keys().append_value(name);
            builder.values().append_value(value);
        }
        // Fails only if keys and values differ in number.
        let _ = builder.append(!value.is_empty());
    }
}

/// A line of a cart or an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Item<'a> {
    /// The seller's number of the article.
    pub sku: &'a str,
    /// What it is called.
    pub name: &'a str,
    /// Of one piece, in minor units of the order's currency.
    pub price: i64,
    /// Pieces.
    pub quantity: i64,
}

fn item_fields() -> Fields {
    Fields::from(vec![
        Field::new("sku", DataType::Utf8, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("price", DataType::Int64, true),
        Field::new("quantity", DataType::Int64, true),
    ])
}

fn element() -> FieldRef {
    Arc::new(Field::new("element", DataType::Struct(item_fields()), true))
}

impl Column for Items {
    type Value<'a> = &'a [Item<'a>];
    type Builder = ListBuilder<StructBuilder>;

    fn data_type() -> DataType {
        DataType::List(element())
    }

    fn nullable() -> bool {
        true
    }

    fn builder() -> Self::Builder {
        ListBuilder::new(StructBuilder::from_fields(item_fields(), 0)).with_field(element())
    }

    fn push(builder: &mut Self::Builder, value: &[Item<'_>]) {
        for item in value {
            let line = builder.values();
            let texts = [item.sku, item.name];
            for (at, text) in texts.into_iter().enumerate() {
                if let Some(column) = line.field_builder::<StringBuilder>(at) {
                    column.append_option((!text.is_empty()).then_some(text));
                }
            }
            for (at, number) in [(2, item.price), (3, item.quantity)] {
                if let Some(column) = line.field_builder::<Int64Builder>(at) {
                    column.append_value(number);
                }
            }
            line.append(true);
        }
        builder.append(!value.is_empty());
    }
}

/// What a row has in a column of a kind.
macro_rules! value {
    ($a:lifetime Long) => { i64 };
    ($a:lifetime MaybeLong) => { Option<i64> };
    ($a:lifetime MaybeInt) => { Option<i32> };
    ($a:lifetime Text) => { &$a str };
    ($a:lifetime Flag) => { bool };
    ($a:lifetime Instant) => { i64 };
    ($a:lifetime Day) => { i32 };
    ($a:lifetime MaybeDay) => { Option<i32> };
    ($a:lifetime Properties) => { &$a [(&$a str, String)] };
    ($a:lifetime Items) => { &$a [Item<$a>] };
}

/// Makes the schema, a row's type and what collects rows from one list of columns.
macro_rules! table {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ident,)+) => {
        /// A row of the table `events`.
        #[derive(Clone, Debug, Default)]
        pub struct Event<'a> {
            $($(#[doc = $doc])+ pub $name: value!('a $kind),)+
        }

        struct Columns {
            $($name: <$kind as Column>::Builder,)+
        }

        impl Columns {
            fn new() -> Self {
                Self { $($name: $kind::builder(),)+ }
            }

            fn push(&mut self, event: &Event<'_>) {
                $($kind::push(&mut self.$name, event.$name.clone());)+
            }

            fn finish(&mut self) -> Vec<ArrayRef> {
                vec![$(Arc::new(self.$name.finish()) as ArrayRef,)+]
            }
        }

        fn fields() -> Vec<Field> {
            vec![$({
                let description = concat!($($doc,)+).trim().to_owned();
                Field::new(stringify!($name), $kind::data_type(), $kind::nullable())
                    .with_metadata(HashMap::from([("description".to_owned(), description)]))
            },)+]
        }
    };
}

table! {
    /// The site's id.
    site: Long,
    /// The visitor of the site: XXH3-128 of the id that the client gave, 32 hex digits.
    visitor: Text,
    /// When it happened, by the corrected clock.
    time: Instant,
    /// The day of that in the site's time zone.
    day: Day,
    /// What kind of event it is: page view, click, order, custom, …, as `page_view`.
    event_type: Text,
    /// What reports call it: pageview, a custom event's own name, else the kind. Null for engagement.
    name: Text,
    /// What it does to its visit: pageview, interactive, passive or engagement.
    effect: Text,
    /// Host of the page, lower case.
    hostname: Text,
    /// Path of the page, or name of the screen.
    path: Text,
    /// Query parameters of the page that are kept.
    query: Text,
    /// Where the page was come to from.
    referrer: Text,
    /// Title of the page.
    title: Text,
    /// What brought the visitor: a site or tag by name. Null: nothing that is known.
    source: Text,
    /// The source's channel, such as Organic Search; Direct if nothing is known.
    channel: Text,
    /// Parameter of the landing page.
    utm_medium: Text,
    /// Parameter of the landing page.
    utm_source: Text,
    /// Parameter of the landing page.
    utm_campaign: Text,
    /// Parameter of the landing page.
    utm_content: Text,
    /// Parameter of the landing page.
    utm_term: Text,
    /// Name of the click id that the landing page had, such as gclid; never its value.
    click_id: Text,
    /// ISO 3166-1 alpha-2.
    country: Text,
    /// ISO 3166-2, with the country: US-CA.
    region: Text,
    /// English name.
    city: Text,
    /// Class of device: Desktop, Mobile, …
    device: Text,
    /// Browser, without its version.
    browser: Text,
    /// Version of the browser.
    browser_version: Text,
    /// Operating system, without its version.
    os: Text,
    /// Version of the operating system.
    os_version: Text,
    /// BCP 47, as the client says.
    language: Text,
    /// IANA name, as the client says.
    timezone: Text,
    /// Width of the screen, in CSS pixels or points.
    screen_width: MaybeInt,
    /// Height of the screen, in CSS pixels or points.
    screen_height: MaybeInt,
    /// Model of the device, as an app says.
    device_model: Text,
    /// Version of the app.
    app_version: Text,
    /// Time of attention since the last engagement event of the page, in ms.
    engagement_ms: MaybeLong,
    /// Deepest scroll of the page, 0 to 100.
    scroll_percent: MaybeInt,
    /// The seller's number of the order.
    order_id: Text,
    /// ISO 4217, of the amounts.
    currency: Text,
    /// Value of the cart, checkout or order, in minor units.
    value: MaybeLong,
    /// The part of that which is revenue: of orders and custom events, in minor units.
    revenue: MaybeLong,
    /// What is in the cart or was ordered.
    items: Items,
    /// Name of the experiment of which a variant was shown.
    experiment: Text,
    /// The variant that was shown.
    variant: Text,
    /// The site's own id of the signed-in person.
    user_id: Text,
    /// Properties of the event, all as text.
    properties: Properties,
    /// What the person agreed to: granted, denied or pending; null: the site does not ask.
    consent: Text,
    /// The software that made the event: web, json, …
    sdk: Text,
    /// Its version.
    sdk_version: Text,
    /// Day (UTC) of the install's first event, as far as it is known.
    first_day: MaybeDay,
    /// How long after it happened the collector had it, in ms.
    delay_ms: Long,
    /// The client's clock was ahead: the time is when the collector had it.
    time_clamped: Flag,
    /// Version of the rules that judged it.
    rules_version: Long,
    /// The event's id, given by an SDK: the page load or process, …
    stream: MaybeLong,
    /// … and a number in it that counts from 0.
    seq: MaybeLong,
    /// The event's id, given by another client.
    client_id: Text,
    /// The event's id where no client gave one: the collector's spool, …
    edge: MaybeLong,
    /// … and the place in it.
    position: MaybeLong,
    /// Partition of the log.
    partition: MaybeInt,
    /// The record of the log that it came in, …
    log_offset: Long,
    /// … and its place among the events of that. Both together are unique.
    log_place: MaybeInt,
}

/// The schema of this version.
pub fn schema() -> SchemaRef {
    static SCHEMA: OnceLock<SchemaRef> = OnceLock::new();
    let schema = SCHEMA.get_or_init(|| Arc::new(Schema::new(fields())));
    Arc::clone(schema)
}

/// Collects rows.
pub struct Rows {
    columns: Columns,
    rows: usize,
}

impl Default for Rows {
    fn default() -> Self {
        Self {
            columns: Columns::new(),
            rows: 0,
        }
    }
}

impl Rows {
    /// Adds a row.
    pub fn push(&mut self, event: &Event<'_>) {
        self.columns.push(event);
        self.rows += 1;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The rows as columns.
    pub fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        RecordBatch::try_new(schema(), self.columns.finish())
    }
}

/// Gives rows of an earlier version the columns of this one.
///
/// Columns that are unknown here, of a later version, are left out. `None` if a column that has to be there is not, or is
/// of another type: these are no rows of the table.
pub fn conform(rows: &RecordBatch) -> Option<RecordBatch> {
    let wanted = schema();
    if rows.schema_ref().fields() == wanted.fields() {
        return Some(rows.clone());
    }
    let columns: Option<Vec<ArrayRef>> = wanted
        .fields()
        .iter()
        .map(|field| match rows.column_by_name(field.name()) {
            Some(found) if found.data_type() == field.data_type() => Some(Arc::clone(found)),
            Some(found) => arrow::compute::cast(found, field.data_type()).ok(),
            None if field.is_nullable() => Some(arrow::array::new_null_array(
                field.data_type(),
                rows.num_rows(),
            )),
            None => None,
        })
        .collect();
    RecordBatch::try_new(wanted, columns?).ok()
}
