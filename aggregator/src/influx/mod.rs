//! Metrics in InfluxDB 2, for whoever wants to read them there: Grafana, scripts, other services.
//!
//! The state stays the truth. Windows that a commit changed are marked in the same commit; the writer sums
//! their rows over all partitions and writes absolute values, so that writing twice changes nothing, and takes the marks
//! back. While InfluxDB is away the marks wait. Every series has one writer: whoever owns the partition
//! [`owner`](points::owner) names, which today is this process for all of them.
//!
//! Every point but the last kind has the tags `site` (its id) and `generation`; times are in seconds.
//!
//! | measurement | time | more tags | fields |
//! | --- | --- | --- | --- |
//! | `minute`, `hour` | beginning of the window | – | `visitors`, `visits`, `pageviews`, `events`, `bounces`, `duration_ms`, `engagement_ms`, `orders`, `revenue_EUR`, … in minor units; `row`: all of it exactly, base64 |
//! | `day` | the local date, as if it were of UTC | – | the same; `domain` of the site |
//! | `lists` | as `day` | – | of each value of the closed lists, such as `country_DE` or `device_Mobile`, its `…_visitors`, `…_visits`, `…_pageviews` |
//! | `top` | as `day` | `kind` (`page`, `utm_source`, …), `rank` (1–20; 0 for the rest) | `value`, `visitors`, `visits`, `pageviews`, `events`; a rank that is not in use has an empty value |
//! | `current` | 2200-01-01 UTC, which no retention ends | only these fields: | `generation`, the tag that readers are to ask for; `log`, the name of the log it was made from |
//!
//! A field is an integer or, where it says so, a text. Only what changed is written.
//!
//! All figures are made anew under another generation when the state is, when somebody asks for that, and when the bucket
//! is another one. Readers go on with the old generation until the new one has everything once; then `current` changes and
//! the old one is deleted ([`generation`]). A bucket belongs to one log.

mod client;
mod export;
mod generation;
mod known;
mod line;
#[cfg(any(test, feature = "testing"))]
pub mod model;
mod pending;
mod points;
mod quarantine;
mod report;
mod server;
mod store;
mod writer;

pub(crate) use self::export::{ExportError, Exporting, Influx};
pub(crate) use self::pending::Pending;
pub use self::report::{MetricsReport, Refusal, Written};
pub(crate) use self::writer::Sources;
