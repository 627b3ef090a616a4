//! What must be true in the end, from what clients know, what is in the log and what was counted.
//!
//! Where bits of the log flipped, what was counted before may not be there any more, so that figures are compared only
//! after a rebuild: it has all that can be read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use prost::Message as _;
use wakeline_aggregator::control::{Control, Site};
use wakeline_aggregator::headless::Headless;
use wakeline_aggregator::influx::model::{ModelInflux, ModelTrouble};
use wakeline_aggregator::log::{EventLog as _, LogReader as _, SegmentEventLog};
use wakeline_aggregator::metrics::MetricStore;
use wakeline_engine::{Grain, Row};
use wakeline_proto::LOST_CORRUPT;
use wakeline_proto::limits::MAX_BLOCK_DECODED_BYTES;
use wakeline_proto::v1::{BlockPayload, Group, LogRecord};

use crate::client::Known;
use crate::model::{self, Model};
use crate::nodes::{self, PARTITIONS};
use crate::store::ModelState;

/// All there is to judge by.
pub(crate) struct Evidence<'a> {
    pub(crate) known: &'a Known,
    pub(crate) control: Arc<Control>,
    /// As the last aggregator left it.
    pub(crate) store: Arc<ModelState>,
    /// The same of its exported figures.
    pub(crate) influx: Arc<ModelInflux>,
    /// The aggregator's.
    pub(crate) folder: PathBuf,
    /// Bits of durable files flipped: records with them may be lost, and nothing else.
    pub(crate) damaged: bool,
    /// So did bits of the log: what was counted before may not be there any more.
    pub(crate) log_damaged: bool,
}

/// What was judged, for people.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    sent: usize,
    acked: usize,
    logged: usize,
    records: usize,
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} events sent, {} acknowledged, {} logged in {} records",
            self.sent, self.acked, self.logged, self.records
        )
    }
}

/// Compares everything with everything.
pub(crate) fn judge(evidence: &Evidence<'_>) -> anyhow::Result<Judged> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let log = Logged::read(&evidence.folder, evidence.log_damaged).await?;
        log.compare(evidence)?;
        let live = evidence.store.contents();

        // A restart goes on with what there is; a rebuild begins with nothing.
        let restarted = Arc::clone(&evidence.store);
        let model = (!evidence.log_damaged).then_some(&log.model);
        evidence.influx.set_trouble(ModelTrouble::default());
        compare_totals(evidence, restarted, model, true)
            .await
            .context("after a restart")?;
        ensure!(
            live == evidence.store.contents(),
            "a restart changes the state"
        );
        let rebuilt = Arc::new(ModelState::new(PARTITIONS, 0));
        compare_totals(evidence, Arc::clone(&rebuilt), Some(&log.model), false)
            .await
            .context("after a rebuild")?;
        ensure!(
            evidence.log_damaged || live == rebuilt.contents(),
            "the log gives another state than was counted live"
        );
        Ok(Judged {
            sent: evidence.known.sent.len()
                + evidence.known.refused.len()
                + evidence.known.named.len(),
            acked: evidence.known.acked.len()
                + evidence
                    .known
                    .named
                    .values()
                    .filter(|event| event.acked)
                    .count(),
            logged: log.ids.len() + log.refused_ids.len() + log.named.len() + log.refused.len(),
            records: log.records,
        })
    })
}

/// What is in the log.
#[derive(Default)]
struct Logged {
    records: usize,
    /// Streams and numbers of events.
    ids: BTreeSet<(u64, u64)>,
    /// The same of those that their clients refused.
    refused_ids: BTreeSet<(u64, u64)>,
    /// Edges and positions of events without ids, by their names, and of those that were refused.
    named: BTreeMap<String, BTreeSet<(u64, u64)>>,
    refused: BTreeMap<String, BTreeSet<(u64, u64)>>,
    /// The highest positions by edge and partition.
    highest: HashMap<(u64, u32), u64>,
    /// When the last record of partition 0 was appended.
    stamp_of_first: u64,
    model: Model,
}

impl Logged {
    async fn read(folder: &Path, folder_damaged: bool) -> anyhow::Result<Self> {
        let log = SegmentEventLog::open(&folder.join("log/segments"), u64::MAX)?;
        let mut reader = log.reader(0);
        let mut logged = Self::default();
        let mut newest = 0;
        loop {
            let entries = reader.next(1 << 20).await?;
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                let Some(record) = entry.record else {
                    ensure!(folder_damaged, "a record is not what it should be");
                    logged.model.lose(entry.lost, logged.stamp_of_first);
                    continue;
                };
                ensure!(record.appended_at >= newest, "stamps run backwards");
                newest = record.appended_at;
                logged.records += 1;
                logged.take(record)?;
            }
        }
        log.close().await;
        Ok(logged)
    }

    fn take(&mut self, record: LogRecord) -> anyhow::Result<()> {
        let block = record.block.context("a record has no block")?;
        if block.partition == 0 {
            self.stamp_of_first = record.appended_at;
        }
        let edge = record.edge;
        let highest = self.highest.get(&(edge, block.partition)).copied();
        let payload = zstd::bulk::decompress(&block.payload, MAX_BLOCK_DECODED_BYTES)?;
        for positioned in BlockPayload::decode(payload.as_slice())?.groups {
            let group = Group::decode(positioned.group)?;
            self.note(&group, edge, positioned.position)?;
            let repeated = highest.is_some_and(|highest| positioned.position <= highest);
            let position = positioned.position;
            self.model.take(&group, edge, position, repeated);
        }
        let newest = block.last_position.max(highest.unwrap_or_default());
        self.highest.insert((edge, block.partition), newest);
        Ok(())
    }

    fn note(&mut self, group: &Group, edge: u64, position: u64) -> anyhow::Result<()> {
        let mut places = (position..).map(|position| (edge, position));
        for (event, place) in group.events.iter().zip(&mut places) {
            if event.stream == 0 {
                let places = self.named.entry(event.name.clone()).or_default();
                places.insert(place);
            } else {
                self.ids.insert((event.stream, event.seq));
            }
        }
        for (rejected, place) in group.rejected.iter().zip(&mut places) {
            if rejected.stream != 0 {
                self.refused_ids.insert((rejected.stream, rejected.seq));
                continue;
            }
            let payload = String::from_utf8_lossy(&rejected.payload);
            let name = payload.split_once(r#""name":""#);
            let name = name.and_then(|(_, rest)| Some(rest.split_once('"')?.0));
            let name = name.context("a refused event has no name")?.to_owned();
            self.refused.entry(name).or_default().insert(place);
        }
        Ok(())
    }

    /// Nothing acknowledged is missing, nothing is there that was not sent.
    fn compare(&self, evidence: &Evidence<'_>) -> anyhow::Result<()> {
        let known = evidence.known;
        for id in &self.ids {
            ensure!(known.sent.contains_key(id), "{id:?} was never sent");
        }
        for id in &self.refused_ids {
            ensure!(known.refused.contains(id), "{id:?} was never refused");
        }
        for (refused, at) in [(false, &self.named), (true, &self.refused)] {
            for (name, places) in at {
                let sent = known.named.get(name);
                let sent = sent.with_context(|| format!("{name} was never sent"))?;
                ensure!(
                    sent.refused == refused && places.len() == 1,
                    "{name} was posted once, {}, and is at {places:?}",
                    if sent.refused { "too old" } else { "sound" }
                );
            }
        }
        let unknown = self.model.fates.iter();
        let unknown = unknown.filter(|((site, _, fate), _)| *site == 0 && fate != LOST_CORRUPT);
        let unknown: i64 = unknown.map(|(_, count)| count).sum();
        ensure!(
            unknown <= known.strangers,
            "of {} requests with unknown keys {unknown} are in the ledger",
            known.strangers
        );
        let damage = self.model.fates.iter();
        let damage = damage.filter(|((.., fate), _)| fate == LOST_CORRUPT);
        let damage: i64 = damage.map(|(_, count)| count).sum();
        if evidence.damaged {
            return Ok(());
        }
        ensure!(
            damage == 0,
            "{damage} events are said to be lost, and no bit was flipped"
        );
        let lost: Vec<_> = known.acked.difference(&self.ids).collect();
        ensure!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        for (name, event) in known.named.iter().filter(|(_, event)| event.acked) {
            let at = if event.refused {
                &self.refused
            } else {
                &self.named
            };
            ensure!(at.contains_key(name), "acknowledged and lost: {name}");
        }
        Ok(())
    }
}

/// Starts an aggregator on `store`, waits until it has applied all, and compares its figures and its ledger with a model's.
async fn compare_totals(
    evidence: &Evidence<'_>,
    store: Arc<ModelState>,
    model: Option<&Model>,
    exports: bool,
) -> anyhow::Result<()> {
    store.set_trouble(crate::store::Trouble::default());
    let config = nodes::aggregator_config(evidence.folder.clone());
    let control = Arc::clone(&evidence.control);
    let headless = if exports {
        let influx = Arc::clone(&evidence.influx);
        Headless::start_with(&config, control, Arc::clone(&store), influx).await?
    } else {
        Headless::start(&config, control, Arc::clone(&store)).await?
    };
    let metrics = Arc::clone(headless.metrics());
    let applied = async {
        while metrics.watermark().applied < metrics.watermark().log_end || !headless.is_exported() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let applied = tokio::time::timeout(Duration::from_secs(60), applied).await;
    if applied.is_err() {
        anyhow::bail!(
            "the log is not applied, or not exported: {:?}",
            metrics.watermark()
        );
    }
    if exports {
        for site in &evidence.control.snapshot().sites {
            compare_exported(&evidence.influx, site, &*metrics).await?;
        }
    }
    if let Some(model) = model {
        for site in &evidence.control.snapshot().sites {
            model::compare(model, site, &**headless.answers()).await?;
        }
        let fates = store.fates()?;
        let expected = model.ledger();
        ensure!(
            fates == expected,
            "the ledger is {fates:?}, not {expected:?}"
        );
    }
    headless.stop().await;
    Ok(())
}

/// Compares what readers of InfluxDB have of a site with the state's figures.
async fn compare_exported(
    influx: &ModelInflux,
    site: &Site,
    metrics: &dyn MetricStore,
) -> anyhow::Result<()> {
    for grain in [Grain::Minute, Grain::Hour, Grain::Day] {
        let rows = metrics.totals(site.id, grain, i64::MIN..i64::MAX).await?;
        let expected: BTreeMap<i64, Row> = rows.into_iter().collect();
        let mut there: BTreeMap<i64, Row> = BTreeMap::new();
        for (window, row, numbers) in influx.rows(site.id, grain) {
            let of_row = [
                ("visitors", row.visitors()),
                ("visits", row.visits),
                ("pageviews", row.pageviews),
                ("events", row.events),
                ("bounces", row.bounces),
                ("duration_ms", row.duration_ms),
                ("engagement_ms", row.engagement_ms),
            ];
            for (name, number) in of_row {
                ensure!(
                    numbers.get(name) == Some(&number),
                    "in InfluxDB {name} of {grain:?} {window} is {:?}, not {number}",
                    numbers.get(name)
                );
            }
            if !row.is_zero() {
                there.insert(window, row);
            }
        }
        let windows = there.keys().chain(expected.keys());
        let mut wrong = windows.filter(|window| there.get(window) != expected.get(window));
        if let Some(window) = wrong.next() {
            anyhow::bail!(
                "in InfluxDB {grain:?} {window} of {} is {:?}, not {:?}",
                site.domain,
                there.get(window),
                expected.get(window)
            );
        }
    }
    Ok(())
}
