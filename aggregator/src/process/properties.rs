//! Random histories through log, workers and store: however events arrive, the same state and figures.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use prost::Message as _;
use wakeline_engine::{Dimension, Grain, LOST_BY_CLIENT, Row, text_id, window};
use wakeline_proto::v1::{
    Block, BlockPayload, Engagement, Event, EventType, Group, PositionedGroup,
};

use crate::config::Config;
use crate::control::{Control, NewSite, Site};
use crate::headless::Headless;
use crate::log::EventLog as _;
use crate::state::memory::{MemoryState, Partition};

/// 2026-03-29 00:00 UTC: a day of 23 hours begins in Berlin an hour before.
const BASE_MS: u64 = 1_774_742_400_000;
const HOUR_MS: u64 = 3_600_000;
const PATHS: [&str; 3] = ["/", "/shop", "/cart"];

/// Something that a visitor of a site did.
#[derive(Clone, Debug)]
struct Happening {
    site: u64,
    visitor: u8,
    stream: u64,
    seq: u64,
    /// By a clock that is off, before or after the base.
    time_ms: u64,
    kind: u8,
    path: usize,
}

/// How events reach the log.
#[derive(Clone, Debug)]
struct Arrival {
    /// Indexes of happenings, each at least once.
    order: Vec<usize>,
    /// Of each request its length and its edge.
    requests: Vec<(usize, u64)>,
    /// The aggregator is restarted after so many blocks, once all was applied or at once.
    restarts: BTreeMap<usize, bool>,
    workers: usize,
}

impl Happening {
    fn event(&self) -> Event {
        let kind = match self.kind {
            0..5 => EventType::PageView,
            5 | 6 => EventType::Custom,
            7 => EventType::Engagement,
            _ => EventType::Scroll,
        };
        Event {
            stream: self.stream,
            seq: self.seq,
            time: self.time_ms,
            r#type: kind.into(),
            name: if self.kind == 5 { "buy" } else { "" }.to_owned(),
            path: PATHS[self.path].to_owned(),
            engagement: (kind == EventType::Engagement).then_some(Engagement {
                time_ms: 700,
                ..Engagement::default()
            }),
            ..Event::default()
        }
    }

    fn visitor(&self) -> String {
        format!("visitor-{}", self.visitor)
    }
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    // Some close together, some days apart.
    let time = (0..4_u64, 0..30_u64, 0..90_u64 * 60_000).prop_map(|(day, hour, ms)| {
        BASE_MS - 30 * HOUR_MS + day * 24 * HOUR_MS + hour % 3 * HOUR_MS + ms
    });
    let one = (1..3_u64, 0..3_u8, 1..3_u64, time, 0..10_u8, 0..PATHS.len());
    prop::collection::vec(one, 1..50).prop_map(|all| {
        let all = all.into_iter().zip(0..);
        all.map(
            |((site, visitor, stream, time_ms, kind, path), seq)| Happening {
                site,
                visitor,
                // Streams are of one visitor of one site.
                stream: stream + 10 * u64::from(visitor) + 100 * site,
                seq,
                time_ms,
                kind,
                path,
            },
        )
        .collect()
    })
}

fn arrival(count: usize) -> impl Strategy<Value = Arrival> {
    let again = prop::collection::vec(0..count, 0..20);
    let order = again.prop_flat_map(move |again| {
        let all: Vec<usize> = (0..count).chain(again).collect();
        Just(all).prop_shuffle()
    });
    let requests = prop::collection::vec((1..9_usize, 1..4_u64), count + 20);
    let restarts = prop::collection::btree_map(0..count, any::<bool>(), 0..3);
    (order, requests, restarts, 1..4_usize).prop_map(|(order, requests, restarts, workers)| {
        Arrival {
            order,
            requests,
            restarts,
            workers,
        }
    })
}

/// A history and two ways in which it arrives.
fn histories() -> impl Strategy<Value = (Vec<Happening>, Arrival, Arrival)> {
    happenings().prop_flat_map(|all| {
        let count = all.len();
        (Just(all), arrival(count), arrival(count))
    })
}

/// The blocks of what arrives, as collectors make them: each edge's positions ascend.
fn blocks(all: &[Happening], arrival: &Arrival, partitions: u16) -> Vec<(u64, Block)> {
    let mut blocks = Vec::new();
    let mut positions: BTreeMap<u64, u64> = BTreeMap::new();
    let mut rest = &arrival.order[..];
    for (length, edge) in &arrival.requests {
        let (request, later) = rest.split_at(rest.len().min(*length));
        rest = later;
        let mut of: BTreeMap<u32, Vec<PositionedGroup>> = BTreeMap::new();
        for happening in request.iter().map(|at| &all[*at]) {
            let position = positions.entry(*edge).or_default();
            *position += 1;
            let group = Group {
                site: happening.site,
                visitor: happening.visitor(),
                received_at: BASE_MS,
                events: vec![happening.event()],
                ..Group::default()
            };
            let hash = wakeline_proto::partition_hash(group.site, &group.visitor);
            let groups = of.entry((hash % u64::from(partitions)) as u32).or_default();
            groups.push(PositionedGroup {
                position: *position,
                group: group.encode_to_vec().into(),
            });
        }
        for (partition, groups) in of {
            let block = Block {
                partition,
                partitions: partitions.into(),
                first_position: groups[0].position,
                last_position: groups[groups.len() - 1].position,
                events: groups.len() as u32,
                payload: zstd::bulk::compress(&BlockPayload { groups }.encode_to_vec(), 1)
                    .unwrap()
                    .into(),
                ..Block::default()
            };
            blocks.push((*edge, block));
        }
    }
    blocks
}

/// What an aggregator has in the end.
struct Outcome {
    state: Vec<Partition>,
    /// Rows of sites: by window, and by day, dimension and value.
    totals: BTreeMap<(u64, Grain, i64), Row>,
    values: BTreeMap<(u64, String, i64, String), Row>,
    sites: Vec<Site>,
}

impl Outcome {
    /// Without what tells how events arrived: where they were, and which of several copies was first.
    fn function_of_the_events(&self) -> Vec<Partition> {
        let mut state = self.state.clone();
        for partition in &mut state {
            partition.progress.edges.clear();
            partition.uncounted.clear();
            let lost = text_id(LOST_BY_CLIENT);
            let fates = |row: &crate::state::RowAddress| {
                row.key.dimension == Dimension::Fate && row.key.value != lost
            };
            let ids: BTreeSet<(u64, u64)> = partition
                .rows
                .keys()
                .filter(|row| fates(row))
                .map(|row| (row.site, row.key.value))
                .collect();
            partition.rows.retain(|row, _| !fates(row));
            partition.names.retain(|name, _| !ids.contains(name));
        }
        state
    }
}

struct Machine {
    dir: tempfile::TempDir,
    control: Arc<Control>,
    partitions: u16,
}

impl Machine {
    fn new(partitions: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let control = Control::open(&dir.path().join("control.sqlite")).unwrap();
        for (domain, zone, gap) in [
            ("one.example", "Europe/Berlin", "30"),
            ("two.example", "America/New_York", "5"),
        ] {
            let site = NewSite {
                domain: domain.parse().unwrap(),
                timezone: zone.parse().unwrap(),
                currency: "EUR".parse().unwrap(),
                session_gap: gap.parse().unwrap(),
            };
            control.create_site(&site).unwrap();
        }
        Self {
            dir,
            control: Arc::new(control),
            partitions,
        }
    }

    async fn start(&self, store: &Arc<MemoryState>, workers: usize) -> Headless {
        let mut config = Config {
            data: self.dir.path().to_owned(),
            workers,
            ..Config::default()
        };
        config.log.partitions = self.partitions.try_into().unwrap();
        let control = Arc::clone(&self.control);
        Headless::start(&config, control, Arc::clone(store))
            .await
            .unwrap()
    }

    /// What comes of the events if they arrive so.
    async fn run(&self, all: &[Happening], arrival: &Arrival) -> Outcome {
        let store = Arc::new(MemoryState::new(self.partitions));
        let mut headless = self.start(&store, arrival.workers).await;
        let blocks = blocks(all, arrival, self.partitions);
        for (number, (edge, block)) in blocks.into_iter().enumerate() {
            headless.log().append(edge, block).await.unwrap();
            if let Some(calm) = arrival.restarts.get(&number) {
                if *calm {
                    settled(&headless).await;
                }
                headless.stop().await;
                headless = self.start(&store, arrival.workers % 3 + 1).await;
            }
        }
        self.finish(&store, headless).await
    }

    /// What a new state makes of the log.
    async fn replay(&self) -> Outcome {
        let store = Arc::new(MemoryState::new(self.partitions));
        let headless = self.start(&store, 2).await;
        self.finish(&store, headless).await
    }

    async fn finish(&self, store: &MemoryState, headless: Headless) -> Outcome {
        settled(&headless).await;
        let sites = self.control.snapshot().sites.clone();
        let (mut totals, mut values) = (BTreeMap::new(), BTreeMap::new());
        let metrics = headless.metrics();
        let always = i64::MIN..i64::MAX;
        for site in sites.iter().map(|site| site.id) {
            for grain in [Grain::Minute, Grain::Hour, Grain::Day] {
                let rows = metrics.totals(site, grain, always.clone()).await.unwrap();
                totals.extend(rows.into_iter().map(|(at, row)| ((site, grain, at), row)));
            }
            for dimension in [Dimension::Page, Dimension::EntryPage, Dimension::ExitPage] {
                let rows = metrics.breakdown(site, dimension, always.clone()).await;
                let rows = rows.unwrap().into_iter();
                let name = format!("{dimension:?}");
                values
                    .extend(rows.map(|(day, value, row)| ((site, name.clone(), day, value), row)));
            }
        }
        headless.stop().await;
        Outcome {
            state: store.contents(),
            totals,
            values,
            sites,
        }
    }
}

async fn settled(headless: &Headless) {
    let begun = Instant::now();
    let watermark = || headless.metrics().watermark();
    while watermark().applied < watermark().log_end {
        assert!(begun.elapsed() < Duration::from_secs(60), "stuck");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Pageviews, events, visits, bounces, duration, engagement and visitors.
type Figures = [i64; 7];

fn figures(row: &Row) -> Figures {
    [
        row.pageviews,
        row.events,
        row.visits,
        row.bounces,
        row.duration_ms,
        row.engagement_ms,
        row.visitors(),
    ]
}

/// The naive model: all events of a visitor, sorted, cut into visits in one pass.
fn expected(all: &[Happening], sites: &[Site]) -> BTreeMap<(u64, Grain, i64), Figures> {
    let mut windows: BTreeMap<(u64, Grain, i64), Figures> = BTreeMap::new();
    for site in sites {
        let gap_ms = u64::from(site.session_gap_minutes) * 60_000;
        for visitor in 0..3 {
            let mut own: Vec<&Happening> = all
                .iter()
                .filter(|at| (at.site, at.visitor) == (site.id, visitor))
                .collect();
            own.sort_by_key(|at| at.time_ms);
            for grain in [Grain::Minute, Grain::Hour, Grain::Day] {
                let of = |ms: u64| {
                    let ms = ms as i64;
                    let at = match grain {
                        Grain::Minute => window::minute_window(ms),
                        Grain::Hour => window::hour_window(&site.tz, ms),
                        Grain::Day => window::day_window(&site.tz, ms),
                    };
                    (site.id, grain, at)
                };
                let mut present = BTreeSet::new();
                for at in &own {
                    let window = windows.entry(of(at.time_ms)).or_default();
                    window[0] += i64::from(at.kind < 5);
                    window[5] += 700 * i64::from(at.kind == 7);
                    if at.kind != 7 {
                        window[1] += 1;
                        window[6] += i64::from(present.insert(of(at.time_ms)));
                    }
                }
                for visit in own.chunk_by(|a, b| b.time_ms - a.time_ms <= gap_ms) {
                    let views = visit.iter().filter(|at| at.kind < 5).count();
                    let acts = visit.iter().any(|at| matches!(at.kind, 5 | 6));
                    if views == 0 && !acts {
                        continue;
                    }
                    let (start, end) = (visit[0].time_ms, visit[visit.len() - 1].time_ms);
                    let bounce = views == 1 && !acts;
                    let window = windows.entry(of(start)).or_default();
                    window[2] += 1;
                    window[3] += i64::from(bounce);
                    window[4] += if bounce { 0 } else { (end - start) as i64 };
                }
            }
        }
    }
    windows.retain(|_, figures| *figures != Figures::default());
    windows
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn state_and_figures_are_a_function_of_the_set_of_events((all, one, other) in histories()) {
        runtime().block_on(async {
            let first = Machine::new(5).run(&all, &one).await;
            let second = Machine::new(5).run(&all, &other).await;
            prop_assert_eq!(first.function_of_the_events(), second.function_of_the_events());
            prop_assert_eq!(&first.totals, &second.totals);
            prop_assert_eq!(&first.values, &second.values);
            // However many partitions there are.
            let third = Machine::new(2).run(&all, &other).await;
            prop_assert_eq!(&first.totals, &third.totals);
            prop_assert_eq!(&first.values, &third.values);

            let counted: BTreeMap<_, _> = first
                .totals
                .iter()
                .map(|(at, row)| (*at, figures(row)))
                .filter(|(_, figures)| *figures != Figures::default())
                .collect();
            prop_assert_eq!(counted, expected(&all, &first.sites));
            Ok(())
        })?;
    }

    #[test]
    fn one_log_gives_one_state_live_restarted_and_replayed_also_where_copies_differ(
        (all, arrival, _) in histories(),
        shared in 1..6_u64,
    ) {
        // Events of several times and kinds have one id: the first in the log counts.
        let all: Vec<Happening> = all
            .into_iter()
            .map(|at| Happening { seq: at.seq % shared, ..at })
            .collect();
        runtime().block_on(async {
            let machine = Machine::new(3);
            let live = machine.run(&all, &arrival).await;
            let replayed = machine.replay().await;
            prop_assert_eq!(live.state, replayed.state);
            prop_assert_eq!(live.totals, replayed.totals);
            prop_assert_eq!(live.values, replayed.values);
            Ok(())
        })?;
    }
}
