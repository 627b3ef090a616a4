//! Durable appends a second, by record size and by how many wait at once.
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use wakeline_spool::{Options, SegmentLog};

fn append(criterion: &mut Criterion) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else {
        return;
    };
    for (bytes, waiting) in [(400, 1), (400, 64), (400, 1024), (4096, 256), (65_536, 64)] {
        // Beside the build, so that it is a disk and no tmpfs.
        let Ok(dir) = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")) else {
            return;
        };
        let Ok((log, _)) = SegmentLog::open(dir.path(), Options::default()) else {
            return;
        };
        let payload = Bytes::from(vec![7; bytes]);
        let mut group = criterion.benchmark_group("append");
        group.throughput(Throughput::Elements(waiting));
        group.bench_function(format!("{bytes} bytes, {waiting} waiting"), |bencher| {
            bencher.iter(|| {
                let positions = runtime.block_on(join_all(
                    (0..waiting).map(|_| log.append(payload.clone(), 10)),
                ));
                // A bench that has filled its disk says so by its numbers; keep it small meanwhile.
                if let Some(Ok(position)) = positions.last() {
                    let _ = log.trim(*position);
                }
            });
        });
    }
}

criterion_group!(benches, append);
criterion_main!(benches);
