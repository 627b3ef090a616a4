//! What must be true in the end, from what clients know, what is in the log and what was counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use prost::Message as _;
use wakeline_aggregator::control::Control;
use wakeline_aggregator::headless::Headless;
use wakeline_aggregator::log::{EventLog as _, LogReader as _, SegmentEventLog};
use wakeline_proto::limits::MAX_BLOCK_DECODED_BYTES;
use wakeline_proto::v1::{BlockPayload, Event, Group, LogRecord};

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
    runtime.block_on(async {
        let log = Logged::read(&evidence.folder).await?;
        log.compare(evidence)?;
        let live = evidence.store.contents();

        // A restart goes on with what there is; a rebuild begins with nothing.
        let restarted = Arc::clone(&evidence.store);
        let model = (!evidence.log_damaged).then_some(&log.model);
        compare_totals(evidence, restarted, model)
            .await
            .context("after a restart")?;
        ensure!(
            live == evidence.store.contents(),
            "a restart changes the state"
        );
        let rebuilt = Arc::new(ModelState::new(PARTITIONS, 0));
        compare_totals(evidence, Arc::clone(&rebuilt), model)
            .await
            .context("after a rebuild")?;
        ensure!(
            evidence.log_damaged || live == rebuilt.contents(),
            "the log gives another state than was counted live"
        );
        Ok(Judged {
            sent: evidence.known.sent.len() + evidence.known.named.len(),
            acked: evidence.known.acked.len()
                + evidence
                    .known
                    .named
                    .values()
                    .filter(|acked| **acked)
                    .count(),
            logged: log.ids.len() + log.named.len(),
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
    /// Edges and positions of events without ids, by their names.
    named: BTreeMap<String, BTreeSet<(u64, u64)>>,
    model: Model,
}

impl Logged {
    async fn read(folder: &Path) -> anyhow::Result<Self> {
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
                let record = entry.record.context("a record is not what it should be")?;
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
        let payload = zstd::bulk::decompress(&block.payload, MAX_BLOCK_DECODED_BYTES)?;
        for positioned in BlockPayload::decode(payload.as_slice())?.groups {
            let group = Group::decode(positioned.group)?;
            for (position, event) in (positioned.position..).zip(&group.events) {
                self.note(event, (record.edge, position));
                self.model.count(&group, event, (record.edge, position));
            }
        }
        Ok(())
    }

    fn note(&mut self, event: &Event, place: (u64, u64)) {
        if event.stream == 0 {
            let places = self.named.entry(event.name.clone()).or_default();
            places.insert(place);
        } else {
            self.ids.insert((event.stream, event.seq));
        }
    }

    /// Nothing acknowledged is missing, nothing is there that was not sent.
    fn compare(&self, evidence: &Evidence<'_>) -> anyhow::Result<()> {
        let known = evidence.known;
        for id in &self.ids {
            ensure!(known.sent.contains_key(id), "{id:?} was never sent");
        }
        for (name, places) in &self.named {
            ensure!(known.named.contains_key(name), "{name} was never sent");
            ensure!(
                places.len() == 1,
                "{name} was posted once, and is at {places:?}"
            );
        }
        if evidence.damaged {
            return Ok(());
        }
        let lost: Vec<_> = known.acked.difference(&self.ids).collect();
        ensure!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        for (name, acked) in &known.named {
            ensure!(
                !acked || self.named.contains_key(name),
                "acknowledged and lost: {name}"
            );
        }
        Ok(())
    }
}

/// Starts an aggregator on `store`, waits until it has applied all, and compares its figures with a model's.
async fn compare_totals(
    evidence: &Evidence<'_>,
    store: Arc<ModelState>,
    model: Option<&Model>,
) -> anyhow::Result<()> {
    store.set_trouble(crate::store::Trouble::default());
    let config = nodes::aggregator_config(evidence.folder.clone());
    let control = Arc::clone(&evidence.control);
    let headless = Headless::start(&config, control, store).await?;
    let metrics = Arc::clone(headless.metrics());
    let applied = async {
        while metrics.watermark().applied < metrics.watermark().log_end {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let applied = tokio::time::timeout(Duration::from_secs(60), applied).await;
    if applied.is_err() && !evidence.damaged {
        anyhow::bail!("the log is not applied: {:?}", metrics.watermark());
    }
    if let Some(model) = model {
        for site in &evidence.control.snapshot().sites {
            model::compare(model, site, &*metrics).await?;
        }
    }
    headless.stop().await;
    Ok(())
}
