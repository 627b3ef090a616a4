//! One simulation: hosts, faults, and the wait until all that was sent has arrived.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use turmoil::Sim;
use wakeline_aggregator::control::{Control, CreatedSite, NewSite};
use wakeline_aggregator::headless::Headless;
use wakeline_aggregator::influx::model::{ModelInflux, ModelTrouble};
use wakeline_collector::Collector;

use crate::client::{self, Known, Plan};
use crate::disk::Disk;
use crate::faults::{Fault, Schedule};
use crate::nodes::{self, AGGREGATOR, PARTITIONS, Slot};
use crate::oracle::{self, Evidence};
use crate::store::{self, ModelState};
use crate::{machine, trace};

/// What messages arrive in, and clocks go by.
const TICK: Duration = Duration::from_millis(10);
/// All is well from here on.
const FAULTS_END_MS: u64 = 12_000;
/// By then all must have arrived.
const LIMIT_MS: u64 = 120_000;
/// All has arrived if nothing was left to do for so long.
const CALM_MS: u64 = 2_500;

/// What a simulation was like.
pub(crate) struct Outcome {
    /// Of all that happened.
    pub(crate) hash: u64,
    /// Figures, for people.
    pub(crate) summary: String,
}

/// Runs the simulation of a seed; an error is a promise that was broken.
pub(crate) fn run(seed: u64, root: &Path) -> anyhow::Result<Outcome> {
    let mut random = fastrand::Rng::with_seed(seed);
    machine::start(random.u64(..));
    machine::insert(Disk::new(root.to_owned(), random.u64(..)));
    wakeline_spool::work::run_in_turn();
    let mut world = World::new(&mut random, root)?;
    let drained = world.run();
    trace::event("over");
    let World {
        sim,
        known,
        control,
        store,
        influx,
        schedule,
        flipped,
        aggregator,
        collectors,
        ..
    } = world;
    // The programs end as in a crash.
    aggregator.borrow_mut().take();
    for (_, slot) in &collectors {
        slot.borrow_mut().take();
    }
    drop(sim);
    let evidence = Evidence {
        known: &known.borrow(),
        control,
        store,
        influx,
        folder: root.join(AGGREGATOR),
        damaged: !flipped.is_empty(),
        log_damaged: flipped.contains(AGGREGATOR),
    };
    let judged = drained.and_then(|()| oracle::judge(&evidence));
    let judged = judged.with_context(|| format!("faults:\n{schedule}"))?;
    Ok(Outcome {
        hash: trace::hash(),
        summary: format!("{judged}, {} faults", schedule.faults.len()),
    })
}

struct World {
    sim: Sim<'static>,
    schedule: Schedule,
    /// What happens later because of faults that began.
    later: BTreeMap<(u64, usize), Later>,
    collectors: Vec<(String, Slot<Collector>)>,
    aggregator: Slot<Headless>,
    control: Arc<Control>,
    store: Arc<ModelState>,
    influx: Arc<ModelInflux>,
    known: Rc<RefCell<Known>>,
    /// Clocks of hosts, in ms.
    skews: BTreeMap<String, Rc<RefCell<i64>>>,
    down: BTreeMap<String, u64>,
    /// Hosts of which durable bits flipped.
    flipped: BTreeSet<String>,
}

/// The end of a fault.
enum Later {
    Start { host: String },
    Repair { a: String, b: String },
    Release { a: String, b: String },
    Disk { host: String },
    Store,
    Influx,
}

impl World {
    fn new(random: &mut fastrand::Rng, root: &Path) -> anyhow::Result<Self> {
        let mut sim = turmoil::Builder::new()
            .tick_duration(TICK)
            .simulation_duration(Duration::from_secs(3_600))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(random.u64(5..80)))
            .tcp_capacity(1 << 14)
            .enable_random_order()
            .rng_seed(random.u64(..))
            .build();
        let collectors: Vec<String> = (1..=random.usize(1..=2))
            .map(|n| format!("collector-{n}"))
            .collect();
        let clients: Vec<String> = (1..=random.usize(2..=5))
            .map(|n| format!("client-{n}"))
            .collect();
        let schedule = Schedule::draw(random, &collectors, &clients, FAULTS_END_MS);

        std::fs::create_dir(root.join("control"))?;
        let control = Arc::new(Control::open(&root.join("control/control.sqlite"))?);
        let sites = [
            ("one.example", "Europe/Berlin", "30"),
            ("two.example", "America/New_York", "5"),
        ];
        let sites = sites.map(|site| make_site(&control, site));
        let store = Arc::new(ModelState::new(PARTITIONS, random.u64(..)));
        let influx = Arc::new(ModelInflux::new(random.u64(..)));

        let mut skews = BTreeMap::new();
        let mut folder = |host: &str| -> anyhow::Result<_> {
            let folder = root.join(host);
            std::fs::create_dir(&folder)?;
            let skew = Rc::new(RefCell::new(random.i64(-60_000..60_000)));
            skews.insert(host.to_owned(), Rc::clone(&skew));
            Ok((folder, skew))
        };
        let aggregator = Slot::default();
        {
            let (folder, skew) = folder(AGGREGATOR)?;
            let (control, store) = (Arc::clone(&control), Arc::clone(&store));
            let (influx, slot) = (Arc::clone(&influx), Rc::clone(&aggregator));
            sim.host(AGGREGATOR, move || {
                let (control, store) = (Arc::clone(&control), Arc::clone(&store));
                let (influx, slot) = (Arc::clone(&influx), Rc::clone(&slot));
                let skew = *skew.borrow();
                nodes::aggregator(folder.clone(), skew, control, store, influx, slot)
            });
        }
        let mut running = Vec::new();
        for host in &collectors {
            let (folder, skew) = folder(host)?;
            let slot = Slot::default();
            running.push((host.clone(), Rc::clone(&slot)));
            let name = host.clone();
            sim.host(host.as_str(), move || {
                let skew = *skew.borrow();
                nodes::collector(name.clone(), folder.clone(), skew, Rc::clone(&slot))
            });
        }
        let known = Rc::new(RefCell::new(Known {
            busy: clients.len(),
            ..Known::default()
        }));
        for (number, host) in (1..).zip(&clients) {
            let site = sites[random.usize(..sites.len())].as_ref();
            let site = site.map_err(|error| anyhow::anyhow!("{error}"))?;
            let plan = Plan {
                number,
                site: site.site.id,
                key: site.write_key.clone(),
                server_key: site.server_key.clone(),
                visitor: format!("visitor-{}", random.u32(..4)),
                events: random.usize(3..40),
                until_ms: FAULTS_END_MS,
                collectors: collectors.clone(),
                seed: random.u64(..),
            };
            sim.client(host.as_str(), client::visit(plan, Rc::clone(&known)));
        }
        Ok(Self {
            sim,
            schedule,
            later: BTreeMap::new(),
            collectors: running,
            aggregator,
            control,
            store,
            influx,
            known,
            skews,
            down: BTreeMap::new(),
            flipped: BTreeSet::new(),
        })
    }

    /// Until all is sent, forwarded and applied.
    fn run(&mut self) -> anyhow::Result<()> {
        let mut faults = self.schedule.faults.clone().into_iter().peekable();
        let mut calm_since = None;
        loop {
            let now = self.sim.elapsed().as_millis() as u64;
            machine::set_elapsed(self.sim.elapsed());
            while let Some((_, fault)) = faults.next_if(|(at, _)| *at <= now) {
                self.begin(now, fault);
            }
            while let Some(due) = self.later.first_entry()
                && due.key().0 <= now
            {
                let later = due.remove();
                self.end(later);
            }
            self.store.make_late_commits();
            self.sim
                .step()
                .map_err(|error| anyhow::anyhow!("a program ended: {error}"))?;
            if !now.is_multiple_of(100) || now < self.schedule.end_ms || !self.later.is_empty() {
                continue;
            }
            let calm = self.is_calm();
            let since = *calm_since.get_or_insert(now);
            if !calm {
                calm_since = None;
            } else if now - since >= CALM_MS {
                return Ok(());
            }
            ensure!(
                now < LIMIT_MS,
                "not all has arrived {} s after the last fault: {}",
                (LIMIT_MS - FAULTS_END_MS) / 1000,
                self.waits()
            );
        }
    }

    fn is_calm(&self) -> bool {
        let forwarded = self.collectors.iter().all(|(_, slot)| {
            let slot = slot.borrow();
            slot.as_ref()
                .is_some_and(|collector| collector.backlog() == 0)
        });
        let applied = self.aggregator.borrow().as_ref().is_some_and(|headless| {
            let watermark = headless.metrics().watermark();
            watermark.applied >= watermark.log_end
        });
        self.known.borrow().busy == 0 && forwarded && applied
    }

    fn waits(&self) -> String {
        let backlogs = self.collectors.iter().map(|(host, slot)| {
            let slot = slot.borrow();
            let backlog = slot.as_ref().map(Collector::backlog);
            let error = slot.as_ref().and_then(Collector::upstream_error);
            format!("{host} has {backlog:?} to forward ({error:?})")
        });
        let backlogs: Vec<_> = backlogs.collect();
        let aggregator = self.aggregator.borrow();
        let watermark = aggregator.as_ref().map(|one| one.metrics().watermark());
        format!(
            "{} clients are busy, {}, the aggregator is at {watermark:?}",
            self.known.borrow().busy,
            backlogs.join(", ")
        )
    }

    fn begin(&mut self, now: u64, fault: Fault) {
        trace::event(format_args!("{fault:?}"));
        let later = match fault {
            Fault::Kill {
                host,
                power,
                flip,
                down_ms,
            } => {
                if self.down.contains_key(&host) {
                    return;
                }
                self.stop(&host);
                self.down.insert(host.clone(), now);
                machine::with_disk(|disk| {
                    if power {
                        disk.lose_power(&host);
                    }
                    if flip && disk.flip_bit(&host) {
                        self.flipped.insert(host.clone());
                    }
                });
                (down_ms, Later::Start { host })
            }
            Fault::Partition { a, b, for_ms } => {
                self.sim.partition(a.as_str(), b.as_str());
                (for_ms, Later::Repair { a, b })
            }
            Fault::OneWay { from, to, for_ms } => {
                self.sim.partition_oneway(from.as_str(), to.as_str());
                (for_ms, Later::Repair { a: from, b: to })
            }
            Fault::Hold { a, b, for_ms } => {
                self.sim.hold(a.as_str(), b.as_str());
                (for_ms, Later::Release { a, b })
            }
            Fault::Disk {
                host,
                trouble,
                for_ms,
            } => {
                machine::with_disk(|disk| disk.set_trouble(&host, Some(trouble)));
                (for_ms, Later::Disk { host })
            }
            Fault::Clock { host, skew_ms } => {
                // In force from the next start on, and at once where it runs.
                if let Some(skew) = self.skews.get(&host) {
                    *skew.borrow_mut() = skew_ms;
                }
                machine::jump(&host, skew_ms);
                return;
            }
            Fault::Store { trouble, for_ms } => {
                self.store.set_trouble(trouble);
                (for_ms, Later::Store)
            }
            Fault::FallBack => {
                self.store.fall_back();
                return;
            }
            Fault::Influx { trouble, for_ms } => {
                self.influx.set_trouble(trouble);
                (for_ms, Later::Influx)
            }
        };
        let at = (now + later.0).min(self.schedule.end_ms);
        let number = self.later.len() + now as usize * 100;
        self.later.insert((at, number), later.1);
    }

    fn end(&mut self, later: Later) {
        match later {
            Later::Start { host } => {
                trace::event(format_args!("{host} is started"));
                self.down.remove(&host);
                self.sim.bounce(host.as_str());
            }
            Later::Repair { a, b } => self.sim.repair(a.as_str(), b.as_str()),
            Later::Release { a, b } => self.sim.release(a.as_str(), b.as_str()),
            Later::Disk { host } => {
                machine::with_disk(|disk| disk.set_trouble(&host, None));
            }
            Later::Store => self.store.set_trouble(store::Trouble::default()),
            Later::Influx => self.influx.set_trouble(ModelTrouble::default()),
        }
    }

    fn stop(&mut self, host: &str) {
        self.sim.crash(host);
        if host == AGGREGATOR {
            self.aggregator.borrow_mut().take();
        }
        for (name, slot) in &self.collectors {
            if name == host {
                slot.borrow_mut().take();
            }
        }
    }
}

fn make_site(control: &Control, site: (&str, &str, &str)) -> anyhow::Result<CreatedSite> {
    let (domain, timezone, gap) = site;
    Ok(control.create_site(&NewSite {
        domain: domain.parse()?,
        timezone: timezone.parse()?,
        currency: "EUR".parse()?,
        session_gap: gap.parse()?,
    })?)
}
