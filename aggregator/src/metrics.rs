//! What queries read: rollup rows by site and window.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use tokio::runtime::Handle;
use wakeline_engine::{Dimension, Grain, Row};
use wakeline_proto::lists::OTHER;
use wakeline_spool::work;

use crate::process::Board;
use crate::state::{StateError, StateStore};
use crate::values;

/// Partitions that are read at a time.
const SCANS: usize = 8;

/// A store of metrics could not answer.
#[derive(Debug, thiserror::Error)]
pub enum MetricError {
    /// The store below could not be read.
    #[error("read rollups")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// How far figures are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Watermark {
    /// Offset after the newest durable record of the log.
    pub log_end: u64,
    /// Every record of the log below this offset is in the figures.
    pub applied: u64,
    /// Append stamp of the newest applied record, in ms since 1970-01-01 UTC; 0 if there is none.
    pub at_ms: u64,
}

/// A day, a value of a dimension, and its row.
pub type ValueRow = (i64, String, Row);

/// The series that queries are answered from.
///
/// - A figure is as fresh as the last commit of its partition; [`watermark`](Self::watermark) says how fresh.
/// - Reading twice without a write in between gives the same rows.
pub trait MetricStore: Send + Sync {
    /// Rows of the whole site in `windows`, ascending; windows without anything are absent.
    fn totals(
        &self,
        site: u64,
        grain: Grain,
        windows: Range<i64>,
    ) -> BoxFuture<'_, Result<Vec<(i64, Row)>, MetricError>>;

    /// Rows of each value of a dimension and day in `days`, ascending by day and value. A visit without a value counts
    /// under the empty one.
    ///
    /// Of a day with too many values (`query.max_values`) those with the most visitors have a row, and the others one
    /// together, [`OTHER`]. Its visitors are the sum of theirs: who had two of these values counts twice.
    fn breakdown(
        &self,
        site: u64,
        dimension: Dimension,
        days: Range<i64>,
    ) -> BoxFuture<'_, Result<Vec<ValueRow>, MetricError>>;

    /// How far the figures are.
    fn watermark(&self) -> Watermark;

    /// Number of the generation of state that the figures are of.
    fn generation(&self) -> u64 {
        0
    }

    /// The same figures from one generation of state, for whoever asks for several that have to fit together; `None` if
    /// this is one.
    fn pinned(&self) -> Option<Arc<dyn MetricStore>> {
        None
    }
}

/// The rollup rows of a state store, as they are.
pub(crate) struct StateMetrics<S> {
    pub(crate) store: Arc<S>,
    pub(crate) partitions: u16,
    /// Values of a dimension that are told apart a day.
    pub(crate) max_values: usize,
    pub(crate) board: Arc<Board>,
}

impl<S: StateStore> StateMetrics<S> {
    /// Runs `read` where it may block.
    async fn read<T, F>(
        &self,
        read: impl FnOnce(Arc<S>, Range<u16>) -> F + Send + 'static,
    ) -> Result<T, MetricError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StateError>>,
    {
        let store = Arc::clone(&self.store);
        let partitions = 0..self.partitions;
        let runtime = Handle::current();
        let read = move || {
            if work::is_in_turn() {
                // What is simulated has rows at hand.
                let done = read(store, partitions).now_or_never();
                return done.unwrap_or(Err(StateError::Corrupt("a simulated store that waits")));
            }
            runtime.block_on(read(store, partitions))
        };
        work::spawn_blocking(read)
            .await
            .map_err(|error| MetricError::Read(Box::new(error)))?
            .map_err(|error| MetricError::Read(Box::new(error)))
    }
}

impl<S: StateStore> MetricStore for StateMetrics<S> {
    fn totals(
        &self,
        site: u64,
        grain: Grain,
        windows: Range<i64>,
    ) -> BoxFuture<'_, Result<Vec<(i64, Row)>, MetricError>> {
        Box::pin(self.read(move |store, partitions| async move {
            let sums = sum(&*store, partitions, site, grain, Dimension::Total, windows).await?;
            let sums = sums.into_iter().filter(|(_, row)| !row.is_zero());
            Ok(sums.map(|((window, _), row)| (window, row)).collect())
        }))
    }

    fn breakdown(
        &self,
        site: u64,
        dimension: Dimension,
        days: Range<i64>,
    ) -> BoxFuture<'_, Result<Vec<ValueRow>, MetricError>> {
        let max_values = self.max_values;
        Box::pin(self.read(move |store, partitions| async move {
            let sums = sum(
                &*store,
                partitions.clone(),
                site,
                Grain::Day,
                dimension,
                days,
            )
            .await?;
            let (sums, others) = values::cap(sums, max_values);
            let texts = sums.keys().map(|(_, value)| *value);
            let texts = texts.filter(|value| values::closed_name(dimension, *value).is_none());
            let names = names(&*store, partitions, site, texts).await?;
            let mut rows = Vec::with_capacity(sums.len() + others.len());
            for ((day, value), row) in sums {
                let name = values::closed_name(dimension, value)
                    .or_else(|| names.get(&value).cloned())
                    .ok_or(StateError::Corrupt("a value has no name"))?;
                rows.push((day, name, row));
            }
            let others = others.into_iter();
            rows.extend(others.map(|(day, row)| (day, OTHER.to_owned(), row)));
            rows.sort_unstable_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
            // Several codes may have one name, and a text may be that of the others.
            rows.dedup_by(|again, row| {
                let same = (again.0, &again.1) == (row.0, &row.1);
                if same {
                    row.2.add(&again.2);
                }
                same
            });
            Ok(rows)
        }))
    }

    fn watermark(&self) -> Watermark {
        self.board.watermark()
    }
}

/// Visitors are in one partition each, so rows add up.
pub(crate) async fn sum<S: StateStore>(
    store: &S,
    partitions: Range<u16>,
    site: u64,
    grain: Grain,
    dimension: Dimension,
    windows: Range<i64>,
) -> Result<BTreeMap<(i64, u64), Row>, StateError> {
    let mut sums: BTreeMap<(i64, u64), Row> = BTreeMap::new();
    // A store elsewhere is asked for several at once: answers take their time on the way.
    let mut scans = futures_util::stream::iter(
        partitions.map(|partition| store.scan(partition, site, grain, dimension, windows.clone())),
    )
    .buffer_unordered(SCANS);
    while let Some(rows) = scans.try_next().await? {
        for (window, value, encoded) in rows {
            let row = Row::decode(&encoded).map_err(|_| StateError::Corrupt("row"))?;
            sums.entry((window, value)).or_default().add(&row);
        }
    }
    Ok(sums)
}

/// The texts that ids stand for, each from whichever partition has it.
pub(crate) async fn names<S: StateStore>(
    store: &S,
    partitions: Range<u16>,
    site: u64,
    ids: impl Iterator<Item = u64>,
) -> Result<HashMap<u64, String>, StateError> {
    let mut wanted: Vec<u64> = ids.collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut names = HashMap::with_capacity(wanted.len());
    for partition in partitions {
        if wanted.is_empty() {
            break;
        }
        let found = store.names(partition, site, &wanted).await?;
        let mut missing = Vec::new();
        for (id, name) in wanted.into_iter().zip(found) {
            match name {
                Some(name) => {
                    names.insert(id, name);
                }
                None => missing.push(id),
            }
        }
        wanted = missing;
    }
    Ok(names)
}
