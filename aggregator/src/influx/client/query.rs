//! Queries, as the files in `flux` have them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

use fallible_iterator::FallibleIterator as _;
use influxdb2::models::Query;
use influxdb2_structmap::value::Value;
use wakeline_engine::{Grain, Row};

use super::{Client, InfluxError};
use crate::influx::known::Fields;
use crate::influx::points::{self, Tags};

/// Longest wait for the answer to a query: the state has it, too.
const QUERY: Duration = Duration::from_secs(3);

/// What a bucket says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    /// The name of the log whose figures it has.
    pub(in crate::influx) log: String,
    /// What readers read; `None` until one is complete.
    pub(in crate::influx) generation: Option<u32>,
}

impl Client {
    /// The rows of a site's windows, ascending.
    pub(in crate::influx) async fn totals(
        &self,
        of: Tags,
        grain: Grain,
        windows: &Range<i64>,
    ) -> Result<Vec<(i64, Row)>, InfluxError> {
        let mut parameters = self.parameters(of, grain, windows);
        let _ = writeln!(
            parameters,
            "measurement = {}",
            quoted(points::measurement(grain))
        );
        let found = self.query(parameters + include_str!("../flux/totals.flux"));
        let strange = |why: &str| self.strange(why);
        let mut rows = Vec::new();
        for record in found.await? {
            let (Some(Value::TimeRFC(time)), Some(Value::String(row))) =
                (record.get("_time"), record.get("_value"))
            else {
                return Err(strange("a row without time or value"));
            };
            let row = points::read_row(row).ok_or_else(|| strange("a row that can't be read"))?;
            rows.push((points::window(grain, time.timestamp()), row));
        }
        rows.sort_unstable_by_key(|(window, _)| *window);
        Ok(rows)
    }

    /// Which breakdowns of a day are there. Their values are not told: none equals what is to be written.
    pub(in crate::influx) async fn day(&self, of: Tags, day: i64) -> Result<Fields, InfluxError> {
        let parameters = self.parameters(of, Grain::Day, &(day..day + 1));
        let found = self.query(parameters + include_str!("../flux/day.flux"));
        let mut fields = Fields::new();
        for record in found.await? {
            let text = |name: &str| match record.get(name) {
                Some(Value::String(text)) if !text.is_empty() => Some(text.as_str()),
                _ => None,
            };
            if let Some(field) = text("_field") {
                let lists = fields.entry(points::series_of("lists", of, &[]));
                lists.or_default().insert(field.to_owned(), 0);
            } else if let (Some(kind), Some(rank)) = (text("kind"), text("rank")) {
                let series = points::series_of("top", of, &[("kind", kind), ("rank", rank)]);
                let of_rank = fields.entry(series).or_default();
                for field in ["value", "visitors", "visits", "pageviews", "events"] {
                    of_rank.insert(field.to_owned(), 0);
                }
            }
        }
        Ok(fields)
    }

    /// Which generation readers read, and whose it is; `None` if nobody has written to the bucket.
    pub(in crate::influx) async fn pointer(&self) -> Result<Option<Pointer>, InfluxError> {
        let bucket = format!("bucket = {}\n", quoted(&self.bucket));
        let (mut log, mut generation) = (None, None);
        for record in self
            .query(bucket + include_str!("../flux/current.flux"))
            .await?
        {
            let (Some(Value::String(field)), Some(Value::String(value))) =
                (record.get("_field"), record.get("_value"))
            else {
                return Err(self.strange("a pointer without field or value"));
            };
            match field.as_str() {
                "log" => log = Some(value.clone()),
                "generation" => generation = value.parse().ok(),
                _ => {}
            }
        }
        Ok(log.map(|log| Pointer { log, generation }))
    }

    /// The generations that the bucket has points of.
    pub(in crate::influx) async fn generations(&self) -> Result<Vec<String>, InfluxError> {
        let bucket = format!("bucket = {}\n", quoted(&self.bucket));
        let found = self.query(bucket + include_str!("../flux/generations.flux"));
        let found = found.await?.into_iter();
        let found = found.filter_map(|record| match record.get("_value") {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            _ => None,
        });
        Ok(found.collect())
    }

    /// What a query for a site begins with.
    fn parameters(&self, of: Tags, grain: Grain, windows: &Range<i64>) -> String {
        let time = |window| {
            let seconds = points::nearest_time(grain, window);
            format!("time(v: {})", i128::from(seconds) * 1_000_000_000)
        };
        format!(
            "bucket = {}\ngeneration = {}\nsite = {}\nstart = {}\nstop = {}\n",
            quoted(&self.bucket),
            quoted(&of.generation.to_string()),
            quoted(&of.site.to_string()),
            time(windows.start),
            time(windows.end),
        )
    }

    async fn query(&self, flux: String) -> Result<Vec<BTreeMap<String, Value>>, InfluxError> {
        let client = self.other.clone();
        let read = tokio::spawn(async move {
            let answer = client.query_raw_iter(Some(Query::new(flux))).await?;
            answer.result().map(|record| Ok(record.values)).collect()
        });
        let abort = read.abort_handle();
        match tokio::time::timeout(QUERY, read).await {
            Ok(Ok(records)) => records.map_err(|error| self.failure(error)),
            Ok(Err(_panic)) => Err(self.strange("an answer to a query that is no CSV")),
            Err(error) => {
                abort.abort();
                Err(self.unreachable(error))
            }
        }
    }
}

/// A text of Flux. Interpolation begins with `${`, so that `$` is escaped, too.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => {
                out.push('\\');
                out.push(char);
            }
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '$' => out.push_str("\\x24"),
            _ => out.push(char),
        }
    }
    out.push('"');
    out
}
