//! A host, reduced to function calls: it pulls uploads and lets a collector answer that the test plays.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use flate2::read::ZlibDecoder;
use prost::Message as _;
use serde_json::{Value, json};
use wakeline_client::Event;
use wakeline_mobile::App;
use wakeline_mobile::app::{Task, Upload};
use wakeline_mobile::clock::{Clock, Moment};
use wakeline_mobile::settings::Settings;
use wakeline_proto::v1::{Batch, BatchReply, Clock as By};
use wakeline_proto::{EventId, batch};

pub(crate) const START_MS: u64 = 1_790_000_000_000;

/// Clocks that the test sets.
#[derive(Debug)]
pub(crate) struct TestClock(Mutex<Moment>);

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Moment {
            mono_ms: 1_000_000,
            wall_ms: START_MS,
            boot: 1,
        })))
    }

    pub(crate) fn advance(&self, ms: u64) {
        let mut now = self.0.lock().unwrap();
        now.mono_ms += ms;
        now.wall_ms += ms;
    }

    pub(crate) fn set_wall(&self, ms: u64) {
        self.0.lock().unwrap().wall_ms = ms;
    }

    /// The device is started again.
    pub(crate) fn reboot(&self) {
        let mut now = self.0.lock().unwrap();
        now.boot += 1;
        now.mono_ms = 5_000;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Moment {
        *self.0.lock().unwrap()
    }
}

pub(crate) fn settings(data: &Path, more: &Value) -> Settings {
    let mut settings = json!({
        "key": "wk_1",
        "url": "https://collector.example",
        "data_dir": data,
        "flush_interval_ms": 20,
    });
    let more = more.as_object().cloned().unwrap_or_default();
    settings.as_object_mut().unwrap().extend(more);
    Settings::parse(&settings.to_string()).unwrap()
}

pub(crate) fn open(data: &Path, clock: &Arc<TestClock>) -> App {
    open_with(data, clock, &json!({}))
}

pub(crate) fn open_with(data: &Path, clock: &Arc<TestClock>, more: &Value) -> App {
    App::open(settings(data, more), Arc::clone(clock) as Arc<dyn Clock>).unwrap()
}

pub(crate) fn status(app: &App) -> Value {
    serde_json::from_str(&app.status()).unwrap()
}

/// A custom event with a number in it.
pub(crate) fn numbered(number: u64) -> String {
    json!({"name": "tap", "properties": {"number": number}}).to_string()
}

/// An event as a collector gets it.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) id: EventId,
    pub(crate) age_ms: i64,
    pub(crate) clock: By,
    pub(crate) url: String,
    pub(crate) event: Event,
    pub(crate) visitor: String,
    pub(crate) user: String,
    pub(crate) app_version: String,
}

impl Got {
    pub(crate) fn property(&self, name: &str) -> Option<&wakeline_client::Value> {
        let mut properties = self.event.properties.iter();
        properties
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }
}

pub(crate) fn decoded(upload: &Upload) -> Batch {
    let compressed = upload
        .headers
        .contains(&("Content-Encoding", "deflate".to_owned()));
    let mut bytes = Vec::new();
    if compressed {
        ZlibDecoder::new(upload.body.as_slice())
            .read_to_end(&mut bytes)
            .unwrap();
    } else {
        bytes.clone_from(&upload.body);
    }
    batch::decode(&bytes).unwrap()
}

pub(crate) fn events(batch: &Batch) -> Vec<Got> {
    batch::expand(batch)
        .filter_map(Result::ok)
        .map(|event| Got {
            id: event.id,
            age_ms: event.age_ms,
            clock: event.clock,
            url: event.url.to_owned(),
            event: Event::from(&event),
            visitor: batch.visitor.clone(),
            user: batch.user.clone(),
            app_version: batch.device.clone().unwrap_or_default().app_version,
        })
        .collect()
}

/// The answer of a collector that accepts all.
pub(crate) fn accepted(batch: &Batch) -> Vec<u8> {
    BatchReply {
        accepted: batch::expand(batch).count() as u32,
        ..BatchReply::default()
    }
    .encode_to_vec()
}

/// What a collector that the test plays got and accepted, by id.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    pub(crate) got: BTreeMap<EventId, Got>,
    pub(crate) batches: usize,
    pub(crate) copies: usize,
}

impl Collector {
    /// Takes what the host sends until it has nothing more to send at once.
    pub(crate) fn drain(&mut self, app: &App) {
        assert!(app.sync(10_000), "{}", app.status());
        app.flush();
        // The worker has seen the flush once this is durable, too.
        assert!(app.sync(10_000), "{}", app.status());
        while let Task::Send(upload) = app.next_task(0) {
            self.take(app, &upload);
        }
    }

    pub(crate) fn take(&mut self, app: &App, upload: &Upload) {
        let batch = decoded(upload);
        self.batches += 1;
        for event in events(&batch) {
            let copy = self.got.insert(event.id, event).is_some();
            self.copies += usize::from(copy);
        }
        app.task_done(upload.id, 202, "", &accepted(&batch));
    }

    /// By name, or the name of the type.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut got: Vec<&Got> = self.got.values().collect();
        got.sort_by_key(|got| got.id.seq);
        let name = |got: &&Got| match got.event.name.as_str() {
            "" => got.event.event_type.name().to_owned(),
            name => name.to_owned(),
        };
        got.iter().map(name).collect()
    }

    pub(crate) fn named(&self, name: &str) -> Vec<&Got> {
        self.got
            .values()
            .filter(|got| got.event.name == name)
            .collect()
    }
}
