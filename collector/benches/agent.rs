//! How long it takes to know a user agent, remembered and not:
//! `cargo bench -p wakeline-collector --features measuring --bench agent`.

use criterion::{Criterion, criterion_group, criterion_main};
use wakeline_collector::measuring::Agents;

const AGENTS: [(&str, &str); 4] = [
    (
        "Chrome on Windows",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
    ),
    (
        "Safari on an iPhone",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1",
    ),
    (
        "an app's view on a Samsung",
        "Mozilla/5.0 (Linux; Android 13; SM-S901B Build/TP1A.220624.014; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/120.0.6099.43 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/440.0.0.34.109;]",
    ),
    (
        "a crawler",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Googlebot/2.1; +http://www.google.com/bot.html) Chrome/120.0.0.0 Safari/537.36",
    ),
];

fn agent(criterion: &mut Criterion) {
    let agents = Agents::default();
    for (name, text) in AGENTS {
        let sender = Agents::sender(text);
        let mut group = criterion.benchmark_group(name);
        group.bench_function("remembered", |bencher| {
            bencher.iter(|| agents.remembered(&sender));
        });
        group.bench_function("read", |bencher| bencher.iter(|| Agents::read(&sender)));
        group.finish();
    }
}

criterion_group!(benches, agent);
criterion_main!(benches);
