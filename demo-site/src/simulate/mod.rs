//! The traffic simulator: visitors by the thousand through the real client core and over HTTP, with totals that are
//! known beforehand.

mod historical;
mod live;
mod plan;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
pub use plan::Truth;
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Options {
    /// `http://HOST:PORT` of the collector.
    pub collector: String,
    /// Write key of the site, or its server key if `days` is given.
    pub key: String,
    /// How many visitors come.
    pub visitors: u64,
    /// The same seed makes the same visitors.
    pub seed: u64,
    /// Spread over so many days before now, sent as history by a server; none: the last hours, sent by the SDK's core.
    pub days: Option<u32>,
    /// Requests at a time.
    pub connections: usize,
    /// How fast visitors come; none: as fast as they are served.
    pub visitors_per_second: Option<u32>,
    /// Show a progress bar, if a terminal watches.
    pub progress: bool,
}

/// The totals of a run, without running it.
pub fn truth(seed: u64, visitors: u64) -> Truth {
    let mut truth = Truth::default();
    for index in 0..visitors {
        truth.count(&plan::visitor(seed, index));
    }
    truth
}

/// Sends everything, retrying until the collector has acknowledged all of it, and gives the totals that reports must show.
///
/// # Errors
/// If the collector refuses the key, an event or the request, or can't be reached for ten minutes.
pub async fn run(options: Options) -> anyhow::Result<Truth> {
    ensure!(options.connections > 0, "at least one connection");
    let sender = Arc::new(Sender::new(&options)?);
    let bar = progress_bar(&options);
    let places = Arc::new(Semaphore::new(options.connections));
    let mut running = JoinSet::new();
    let mut truth = Truth::default();
    let start = Instant::now();
    for index in 0..options.visitors {
        if let Some(rate) = options.visitors_per_second {
            let due = Duration::from_nanos(1_000_000_000 / u64::from(rate.max(1)))
                .saturating_mul(index.try_into().unwrap_or(u32::MAX));
            tokio::time::sleep_until(start + due).await;
        }
        let place = Arc::clone(&places).acquire_owned().await?;
        while let Some(done) = running.try_join_next() {
            done??;
        }
        let visitor = plan::visitor(options.seed, index);
        truth.count(&visitor);
        let sender = Arc::clone(&sender);
        let bar = bar.clone();
        running.spawn(async move {
            let sent = match &sender.history {
                None => live::send(&sender.live, &visitor).await,
                Some(history) => history.send(&visitor, index).await,
            };
            drop(place);
            bar.inc(1);
            sent
        });
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    bar.finish_and_clear();
    Ok(truth)
}

struct Sender {
    live: live::Live,
    history: Option<historical::History>,
}

impl Sender {
    fn new(options: &Options) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .pool_max_idle_per_host(options.connections)
            .timeout(Duration::from_secs(30))
            .tcp_nodelay(true)
            .build()?;
        let base: url::Url = options
            .collector
            .parse()
            .with_context(|| format!("`{}` is not a URL", options.collector))?;
        let history = options
            .days
            .map(|days| {
                let url = base.join("/w/1/events")?;
                anyhow::Ok(historical::History::new(
                    http.clone(),
                    url,
                    options.key.clone(),
                    days,
                    options.seed,
                ))
            })
            .transpose()?;
        let live = live::Live::new(http, base.join("/w/1/batch")?, options.key.clone());
        Ok(Self { live, history })
    }
}

fn progress_bar(options: &Options) -> ProgressBar {
    // indicatif itself draws nothing where no terminal watches.
    let target = if options.progress {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(options.visitors), target);
    if let Ok(style) = ProgressStyle::with_template(
        "{bar:40} {human_pos} of {human_len} visitors, {per_sec}, {eta} to go",
    ) {
        bar.set_style(style);
    }
    bar
}
