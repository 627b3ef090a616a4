//! From rows that came lately to files.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;

use crate::file::{BATCH_ROWS, Keys, Made, Order, Writer, checksum};
use crate::lake::Lake;
use crate::manifest::{DataFile, Manifest, data_path};
use crate::{LakeError, schema};

/// How much others come first, from 0 (not at all) to 19.
const NICENESS: i32 = 10;
/// Records without a counted event after which the manifest is moved on, so that they are not read again.
const QUIET_RECORDS: u64 = 8_192;

impl Lake {
    /// Writes what is in no file yet to files, one a day and bucket, and commits them. False if there was nothing to do.
    pub async fn flush(&self) -> Result<bool, LakeError> {
        let _one = self.work.lock().await;
        let now = self.begin_flush();
        let (from, to) = (now.manifest.covered_to, now.end);
        if now.tail.is_empty() && to.saturating_sub(from) < QUIET_RECORDS {
            return Ok(false);
        }
        let manifest = Arc::clone(&now.manifest);
        let rows: Vec<RecordBatch> = now.tail.iter().map(|tail| tail.rows.clone()).collect();
        let made = blocking(move || make(&manifest, &rows)).await?;
        let mut files = Vec::new();
        for ((day, bucket), made) in made {
            let path = data_path(day, bucket, from, to, 0);
            files.push(self.put(path, day, bucket, from..to, made).await?);
        }
        self.commit(move |manifest| {
            manifest.files.extend(files);
            manifest.covered_to = to;
        })
        .await?;
        Ok(true)
    }

    /// Stores a file, which no manifest names yet.
    pub(crate) async fn put(
        &self,
        path: String,
        day: i32,
        bucket: u16,
        offsets: std::ops::Range<u64>,
        made: Made,
    ) -> Result<DataFile, LakeError> {
        let file = DataFile {
            path,
            day,
            bucket,
            schema: schema::VERSION,
            rows: made.rows,
            bytes: made.bytes.len() as u64,
            checksum: checksum(&made.bytes),
            from: offsets.start,
            to: offsets.end,
            min_site: made.min_site,
            max_site: made.max_site,
        };
        self.store.put(&file.path, made.bytes).await?;
        Ok(file)
    }
}

/// Does what takes long where it holds up nobody: in a thread of low priority.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LakeError> + Send + 'static,
) -> Result<T, LakeError> {
    let (done, result) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("lake files".to_owned());
    let thread = thread.spawn(move || {
        // Of this thread, on Linux. Where it is refused it runs like everything else.
        let _ = rustix::process::setpriority_process(None, NICENESS);
        let _ = done.send(work());
    });
    let thread = thread.map_err(LakeError::Thread)?;
    match result.await {
        Ok(result) => result,
        Err(_gone) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => std::future::pending().await, // it sends before it ends
        },
    }
}

/// A row of `rows`: its order, and where it is.
type Row<'a> = (Order<'a>, (usize, usize));

/// Of each day and bucket the file.
type Files = Vec<((i32, u16), Made)>;

/// Files of `rows`, by day and bucket.
fn make(manifest: &Manifest, rows: &[RecordBatch]) -> Result<Files, LakeError> {
    let mut parts: BTreeMap<(i32, u16), Vec<Row<'_>>> = BTreeMap::new();
    for (number, batch) in rows.iter().enumerate() {
        let Some(keys) = Keys::of(batch) else {
            continue; // rows come of this version's schema
        };
        for row in 0..batch.num_rows() {
            let part = (keys.day(row), manifest.bucket(keys.site(row)));
            let rows = parts.entry(part).or_default();
            rows.push((keys.order(row), (number, row)));
        }
    }
    let batches: Vec<&RecordBatch> = rows.iter().collect();
    let mut files = Vec::new();
    for (part, mut rows) in parts {
        rows.sort_unstable();
        let mut writer = Writer::new()?;
        for some in rows.chunks(BATCH_ROWS) {
            let places: Vec<(usize, usize)> = some.iter().map(|(_, place)| *place).collect();
            writer.write(&interleave_record_batch(&batches, &places)?)?;
        }
        if let Some(made) = writer.finish()? {
            files.push((part, made));
        }
    }
    Ok(files)
}
