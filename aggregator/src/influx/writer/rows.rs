//! What windows are to be in InfluxDB.

use std::sync::atomic::Ordering;
use std::time::Instant;

use futures_util::{StreamExt as _, TryStreamExt as _};
use wakeline_engine::{Dimension, Grain, Row, RowKey};

use super::super::known::Fields;
use super::super::line::Value;
use super::super::pending::Marks;
use super::super::points::{self, Points, Tags};
use super::{DAYS_EVERY, READS, Work, WriteError, Writer};
use crate::metrics::MetricStore as _;
use crate::state::{RowAddress, SiteWindow, StateError, StateStore};

impl<S: StateStore> Writer<S> {
    /// Sums rows over all partitions, and finds the lines that differ from what InfluxDB has.
    pub(super) async fn prepare(
        &mut self,
        generation: u32,
        taken: &[(SiteWindow, Marks)],
    ) -> Result<Vec<Work>, WriteError> {
        let windows: Vec<SiteWindow> = taken.iter().map(|(window, _)| *window).collect();
        let rows = self.totals(&windows).await?;
        let kept_from = self.to.kept_from.load(Ordering::Acquire);
        let mut work = Vec::with_capacity(taken.len());
        for ((window, marks), row) in taken.iter().zip(rows) {
            let (mut lines, mut fields) = (Vec::new(), Fields::new());
            let seconds = points::time(window.grain, window.window);
            if let Some(seconds) = seconds.filter(|seconds| *seconds >= kept_from) {
                let mut points = Points::new();
                let of = Tags {
                    generation,
                    site: window.site,
                };
                points::add_totals(&mut points, of, window.grain, &row);
                if window.grain == Grain::Day {
                    self.add_day(&mut points, of, window).await?;
                }
                (lines, fields) = self.known.difference(window, seconds, points);
            }
            work.push(Work {
                window: *window,
                marks: marks.clone(),
                lines,
                fields,
            });
        }
        Ok(work)
    }

    async fn add_day(
        &mut self,
        points: &mut Points,
        of: Tags,
        at: &SiteWindow,
    ) -> Result<(), WriteError> {
        if !self.known.has(at) {
            // A value may be gone since an earlier process wrote it.
            let there = self.to.client.day(of, at.window).await?;
            let long_ago = Instant::now().checked_sub(DAYS_EVERY);
            let long_ago = long_ago.unwrap_or_else(Instant::now);
            self.known.put(*at, there, long_ago);
        }
        for dimension in Dimension::ALL {
            if points::kind(dimension).is_some() {
                let days = at.window..at.window + 1;
                let breakdown = self.from.metrics.breakdown(at.site, dimension, days);
                points::add_values(points, of, dimension, &breakdown.await?);
            }
        }
        let control = self.from.control.snapshot();
        if let Some(site) = control.find_site(&at.site.to_string()) {
            let day = points::series_of(points::measurement(Grain::Day), of, &[]);
            let domain = Value::Text(site.domain.clone());
            points
                .entry(day)
                .or_default()
                .insert("domain".to_owned(), domain);
        }
        Ok(())
    }

    async fn totals(&self, windows: &[SiteWindow]) -> Result<Vec<Row>, StateError> {
        let address = |at: &SiteWindow| RowAddress {
            site: at.site,
            key: RowKey {
                grain: at.grain,
                window: at.window,
                dimension: Dimension::Total,
                value: 0,
            },
        };
        let addresses: Vec<RowAddress> = windows.iter().map(address).collect();
        let partitions = 0..self.from.partitions;
        let mut reads = futures_util::stream::iter(
            partitions.map(|partition| self.from.store.rows(partition, &addresses)),
        )
        .buffer_unordered(READS);
        let mut sums = vec![Row::default(); windows.len()];
        while let Some(rows) = reads.try_next().await? {
            for (sum, encoded) in sums.iter_mut().zip(rows) {
                if let Some(encoded) = encoded {
                    let row = Row::decode(&encoded).map_err(|_| StateError::Corrupt("row"))?;
                    sum.add(&row);
                }
            }
        }
        Ok(sums)
    }
}
