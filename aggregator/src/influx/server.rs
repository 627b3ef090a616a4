//! What is asked of an InfluxDB: the seam between the writer and the server, which simulations model.

use std::ops::Range;

use futures_util::future::BoxFuture;
use wakeline_engine::{Grain, Row};

use super::client::{Bucket, Client, InfluxError, Pointer};
use super::known::Fields;
use super::points::Tags;

/// The future answer of a server.
pub(super) type Answer<'a, T> = BoxFuture<'a, Result<T, InfluxError>>;

/// One bucket of a server. Each request may fail without having been carried out; one whose outcome is not known may have
/// been, and no later than its sender waits before the next one.
pub(crate) trait Server: Send + Sync + 'static {
    /// Writes lines with times in s. Points that are there already get the fields of the lines.
    fn write<'a>(&'a self, lines: &'a str) -> Answer<'a, ()>;

    /// Deletes all points of a generation.
    fn delete<'a>(&'a self, generation: &'a str) -> Answer<'a, ()>;

    /// The bucket, made if it is not there.
    fn bucket(&self) -> Answer<'_, Bucket>;

    /// Whether the server is there and well.
    fn health(&self) -> Answer<'_, ()>;

    /// The rows of a site's windows, ascending.
    fn totals<'a>(
        &'a self,
        of: Tags,
        grain: Grain,
        windows: &'a Range<i64>,
    ) -> Answer<'a, Vec<(i64, Row)>>;

    /// Which breakdowns of a day are there. Their values are not told: none equals what is to be written.
    fn day(&self, of: Tags, day: i64) -> Answer<'_, Fields>;

    /// Which generation readers read, and whose it is; `None` if nobody has written to the bucket.
    fn pointer(&self) -> Answer<'_, Option<Pointer>>;

    /// The generations that the bucket has points of.
    fn generations(&self) -> Answer<'_, Vec<String>>;

    /// The bucket belongs to another log.
    fn foreign(&self, log: &str) -> InfluxError;
}

impl Server for Client {
    fn write<'a>(&'a self, lines: &'a str) -> Answer<'a, ()> {
        Box::pin(self.write(lines))
    }

    fn delete<'a>(&'a self, generation: &'a str) -> Answer<'a, ()> {
        Box::pin(self.delete(generation))
    }

    fn bucket(&self) -> Answer<'_, Bucket> {
        Box::pin(self.bucket())
    }

    fn health(&self) -> Answer<'_, ()> {
        Box::pin(self.health())
    }

    fn totals<'a>(
        &'a self,
        of: Tags,
        grain: Grain,
        windows: &'a Range<i64>,
    ) -> Answer<'a, Vec<(i64, Row)>> {
        Box::pin(self.totals(of, grain, windows))
    }

    fn day(&self, of: Tags, day: i64) -> Answer<'_, Fields> {
        Box::pin(self.day(of, day))
    }

    fn pointer(&self) -> Answer<'_, Option<Pointer>> {
        Box::pin(self.pointer())
    }

    fn generations(&self) -> Answer<'_, Vec<String>> {
        Box::pin(self.generations())
    }

    fn foreign(&self, log: &str) -> InfluxError {
        self.foreign(log)
    }
}
