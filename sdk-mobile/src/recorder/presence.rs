//! Whether the app is seen, what opened it, and the attention that its screens get.

use std::fmt::Write as _;
use std::sync::Arc;

use wakeline_client::v1::Engagement;
use wakeline_client::{Event, Page};
use wakeline_proto::limits::MAX_URL_BYTES;

use super::Recorder;
use crate::clock::Moment;
use crate::input::{self, Misuse};

/// A link that comes before the app is seen opened it if that is so within this time, in ms.
const ARRIVAL_MS: i64 = 60_000;
/// An app is opened before it is seen. What tells the visit's source has to be its first event; but a batch is of one person,
/// an event's time is its batch's arrival less its age, and the first request of a process, which connects, arrives later
/// after its sending than the next one: of who signs in within moments of the opening, what follows seemed to come before it.
const OPENED_BEFORE_MS: u64 = 100;

#[derive(Clone, Debug)]
pub(super) struct Arrival {
    by: &'static str,
    url: String,
}

#[derive(Debug, Default)]
pub(super) struct Attention {
    pub(super) since: Option<Moment>,
    pub(super) time_ms: i64,
    pub(super) percent: u32,
}

impl Recorder {
    /// The app is seen.
    pub(crate) fn seen(&mut self, now: Moment) {
        let idle = self.saved.session == 0 || self.saved.active.age(now).abs() > self.gap_ms;
        if self.attention.since.is_none() {
            self.attention.since = Some(now);
        }
        if !self.allowed() {
            return; // and the first time that it may is the first time seen
        }
        let crash_free = self.was_seen || !self.saved.seen;
        let cold = !std::mem::replace(&mut self.was_seen, true);
        self.saved.seen = true;
        self.changes += 1;
        if cold || idle {
            self.release(None);
            self.saved.session += u64::from(idle);
            let open = Event::custom("app_open")
                .with("session", self.saved.session as i64)
                .with("cold", cold)
                .with("crash_free", crash_free);
            let mut events = vec![open];
            let version = self.device.app_version.clone();
            match self.saved.app_version.replace(version.clone()) {
                None => events.push(Event::custom("app_install")),
                Some(before) if !before.is_empty() && before != version => {
                    events.push(Event::custom("app_upgrade").with("from", before));
                }
                Some(_) => {}
            }
            for event in events.iter_mut().skip(1) {
                event.passive = true;
            }
            self.opening = Some((now, events));
            if let Some((at, arrival)) = self.arrival.take()
                && at.age(now) <= ARRIVAL_MS
            {
                self.release(Some(&arrival));
            }
        }
        self.saved.active = now;
    }

    /// The app is not seen any more.
    pub(crate) fn hidden(&mut self, now: Moment) {
        self.release(None);
        self.leave_screen(now);
        self.attention.since = None;
        self.tell_misuse(now);
        if self.saved.seen {
            self.saved.seen = false;
            self.changes += 1;
        }
    }

    /// A link opened the app.
    pub(crate) fn open_link(&mut self, url: &str, now: Moment) {
        let mut misuse = Misuse::default();
        let url = input::cut(url.to_owned(), MAX_URL_BYTES, &mut misuse);
        self.slip(misuse);
        self.arrive(Arrival { by: "link", url }, now);
    }

    /// A push notification opened the app.
    pub(crate) fn open_push(&mut self, campaign: &str, now: Moment) {
        let mut url = "app://push/?utm_source=push&utm_medium=push".to_owned();
        if !campaign.is_empty() {
            url.push_str("&utm_campaign=");
            for byte in campaign.bytes().take(256) {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                        url.push(char::from(byte));
                    }
                    _ => {
                        let _ = write!(url, "%{byte:02X}"); // a String takes all
                    }
                }
            }
        }
        self.arrive(Arrival { by: "push", url }, now);
    }

    fn arrive(&mut self, arrival: Arrival, now: Moment) {
        if self.opening.is_some() {
            self.release(Some(&arrival));
        } else if self.attention.since.is_some() && self.was_seen {
            // The app was open, and brought to the front by it.
            if self.allowed() {
                let event = Event::custom(match arrival.by {
                    "push" => "push_open",
                    _ => "link_open",
                });
                let page = Page {
                    url: arrival.url,
                    ..Page::default()
                };
                self.push(event, Some(Arc::new(page)), now);
            }
        } else {
            self.arrival = Some((now, arrival));
        }
    }

    /// Records what waits at an app's opening.
    pub(super) fn release(&mut self, arrival: Option<&Arrival>) {
        let Some((mut at, events)) = self.opening.take() else {
            return;
        };
        at.mono_ms = at.mono_ms.saturating_sub(OPENED_BEFORE_MS);
        at.wall_ms = at.wall_ms.saturating_sub(OPENED_BEFORE_MS);
        let mut page = self.page.clone();
        if let Some(arrival) = arrival {
            let url = arrival.url.clone();
            page = Some(Arc::new(Page {
                url,
                ..Page::default()
            }));
        }
        for (index, mut event) in events.into_iter().enumerate() {
            if let Some(arrival) = arrival
                && index == 0
            {
                event = event.with("opened_by", arrival.by);
            }
            self.add_defaults(&mut event);
            self.push(event, page.clone(), at);
        }
    }

    pub(super) fn leave_screen(&mut self, now: Moment) {
        let attention = &mut self.attention;
        if let Some(since) = attention.since {
            attention.time_ms += since.age(now).max(0);
            attention.since = Some(now);
        }
        let time_ms = std::mem::take(&mut attention.time_ms);
        let scroll_percent = std::mem::take(&mut attention.percent);
        if time_ms > 0 && self.allowed() {
            let time_ms = u32::try_from(time_ms).unwrap_or(u32::MAX);
            let engagement = Engagement {
                time_ms,
                scroll_percent,
            };
            self.push(Event::engagement(engagement), self.page.clone(), now);
        }
    }
}
