//! A store that does not always do what it is asked, or does it later, or says that it did not though it did.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What goes wrong with a call that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is refused.
    Refused,
    /// It is done, and the answer is lost.
    Unanswered,
    /// The answer is lost, and it is done when the next call comes.
    Late,
}

/// Objects in memory, which outlive the process that writes them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Broken {
    pub(crate) objects: Arc<InMemory>,
    /// Calls that write, until one goes wrong.
    countdown: Arc<AtomicU32>,
    fault: Arc<Mutex<Option<Fault>>>,
    late: Arc<Mutex<Vec<(Path, PutPayload, PutOptions)>>>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken")
    }
}

fn failure() -> Error {
    Error::Generic {
        store: "broken",
        source: "broken on purpose".into(),
    }
}

impl Broken {
    /// The write after `calls` others goes wrong.
    pub(crate) fn plan(&self, calls: u32, fault: Option<Fault>) {
        self.countdown.store(calls, Ordering::Relaxed);
        *self.fault.lock().unwrap() = fault;
    }

    fn now(&self) -> Option<Fault> {
        let mut fault = self.fault.lock().unwrap();
        (*fault)?;
        if self.countdown.load(Ordering::Relaxed) == 0 {
            return fault.take();
        }
        self.countdown.fetch_sub(1, Ordering::Relaxed);
        None
    }

    async fn catch_up(&self) {
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        for (path, payload, options) in late {
            let _ = self.objects.put_opts(&path, payload, options).await;
        }
    }
}

#[async_trait::async_trait]
impl ObjectStore for Broken {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.catch_up().await;
        match self.now() {
            Some(Fault::Refused) => Err(failure()),
            Some(Fault::Unanswered) => {
                self.objects.put_opts(location, payload, options).await?;
                Err(failure())
            }
            Some(Fault::Late) => {
                let late = (location.clone(), payload, options);
                self.late.lock().unwrap().push(late);
                Err(failure())
            }
            None => self.objects.put_opts(location, payload, options).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented {
            operation: "put_multipart_opts".to_owned(),
            implementer: "broken".to_owned(),
        })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.objects.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.objects.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}
