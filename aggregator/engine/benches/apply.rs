//! Events per second of one core through decode, apply and encode: groups of ten events of one visitor, as an SDK sends
//! them, in commits of a thousand groups.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use wakeline_engine::{
    Changes, Context, Event, Id, Kind, Money, SiteRules, Visitor, apply, country_code, text_id,
    timezone,
};

const VISITORS: u64 = 1_000;
const GROUP: u64 = 10;
const HOUR: i64 = 3_600_000;
const START: i64 = 1_795_200_000_000;

/// One in five page loads was referred.
fn context(visitor: u64, load: u64) -> Context {
    let referred = load.is_multiple_of(5);
    Context {
        source: if referred {
            text_id(&format!("site {}", visitor % 9))
        } else {
            0
        },
        channel: u8::from(referred),
        country: country_code(["DE", "FR", "US"][(visitor % 3) as usize]),
        device: (visitor % 2) as u8,
        browser: (visitor % 5) as u8,
        os: (visitor % 4) as u8,
        ..Context::default()
    }
}

/// A group of a visitor: two page loads, the rest clicks, scrolls and attention.
fn group(visitor: u64, number: u64, start: i64) -> Vec<Event> {
    (0..GROUP)
        .map(|index| {
            let load = number * 2 + index / 5;
            let kind = match index % 5 {
                0 => Kind::Pageview,
                1 | 3 => Kind::Interactive,
                2 => Kind::Passive,
                _ => Kind::Engagement,
            };
            Event {
                id: Id::Stream {
                    stream: text_id(&format!("{visitor} {load}")),
                    seq: index % 5,
                },
                time_ms: start + (index * 11_000 + visitor * 977) as i64,
                stamp_ms: start,
                kind,
                name: (kind != Kind::Engagement)
                    .then(|| text_id(["pageview", "click"][usize::from(kind != Kind::Pageview)])),
                page: Some(text_id(&format!("/p/{}", (visitor * 7 + load) % 500))),
                engagement_ms: if kind == Kind::Engagement { 20_000 } else { 0 },
                order: (visitor.is_multiple_of(50) && index == 8).then_some(Money {
                    currency: *b"EUR",
                    minor: 4_999,
                }),
                context: context(visitor, load),
            }
        })
        .collect()
}

/// Records of visitors that had so many visits of two groups before.
fn records(rules: &SiteRules, visits: u64) -> Vec<Vec<u8>> {
    let record = |visitor| {
        let mut state = Visitor::default();
        for visit in 0..visits {
            let start = START - (visits - visit) as i64 * 31 * HOUR;
            for number in [2 * visit, 2 * visit + 1] {
                let events = group(visitor, number, start + number as i64 * 60_000);
                apply(&mut state, rules, &events, &mut Changes::default());
            }
        }
        let mut bytes = Vec::new();
        state.encode(&mut bytes);
        bytes
    };
    (0..VISITORS).map(record).collect()
}

fn commit(rules: &SiteRules, records: &mut [Vec<u8>], groups: &[Vec<Event>]) {
    let mut changes = Changes::default();
    for (record, events) in records.iter_mut().zip(groups) {
        let mut visitor = Visitor::decode(record).unwrap_or_default();
        black_box(apply(&mut visitor, rules, events, &mut changes));
        record.clear();
        visitor.encode(record);
    }
    let mut bytes = Vec::new();
    for (_, row) in changes {
        bytes.clear();
        row.encode(&mut bytes);
        black_box(&bytes);
    }
}

fn bench(criterion: &mut Criterion) {
    let Some(timezone) = timezone("Europe/Berlin") else {
        return;
    };
    let rules = SiteRules {
        timezone,
        gap_ms: HOUR / 2,
        seal_after_ms: None,
    };
    let mut bench = criterion.benchmark_group("apply");
    bench.throughput(Throughput::Elements(VISITORS * GROUP));
    for (name, visits) in [
        ("new_visitors", 0),
        ("one_visit_before", 1),
        ("thirty_visits_before", 30),
    ] {
        let records = records(&rules, visits);
        let groups: Vec<_> = (0..VISITORS)
            .map(|visitor| group(visitor, 2 * visits, START))
            .collect();
        bench.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || records.clone(),
                |records| commit(&rules, records, &groups),
                BatchSize::LargeInput,
            );
        });
    }
    bench.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
