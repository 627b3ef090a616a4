//! Metrics in InfluxDB 2, for whoever wants to read them there: Grafana, scripts, other services.
//!
//! The state stays the truth. Windows that a commit changed are marked in the same commit; the writer sums
//! their rows over all partitions and writes absolute values, so that writing twice changes nothing, and takes the marks
//! back. While InfluxDB is away the marks wait. Every series has one writer: whoever owns the partition
//! [`owner`](points::owner) names, which today is this process for all of them.
//!
//! Every point has the tags `site` (its id) and `generation`; times are in seconds.
//!
//! | measurement | time | more tags | fields |
//! | --- | --- | --- | --- |
//! | `minute`, `hour` | beginning of the window | – | `visitors`, `visits`, `pageviews`, `events`, `bounces`, `duration_ms`, `engagement_ms`, `orders`, `revenue_EUR`, … in minor units; `row`: all of it exactly, base64 |
//! | `day` | the local date, as if it were of UTC | – | the same; `domain` of the site |
//! | `lists` | as `day` | – | of each value of the closed lists, such as `country_DE` or `device_Mobile`, its `…_visitors`, `…_visits`, `…_pageviews` |
//! | `top` | as `day` | `kind` (`page`, `utm_source`, …), `rank` (1–20; 0 for the rest) | `value`, `visitors`, `visits`, `pageviews`, `events`; a rank that is not in use has an empty value |
//!
//! A field is an integer or, where it says so, a text. Only what changed is written.

mod client;
mod export;
mod known;
mod line;
mod pending;
mod points;
mod quarantine;
mod report;
mod store;
mod writer;

pub(crate) use self::export::{ExportError, Exporting, Influx};
pub(crate) use self::pending::Pending;
pub use self::report::{MetricsReport, Refusal};
pub(crate) use self::writer::Sources;

/// Which of several makings of the figures: there is one, until history can be made anew beside the old.
const GENERATION: &str = "1";
