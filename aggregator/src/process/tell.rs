//! Tells whoever watches a site what was committed.

use std::collections::HashMap;

use wakeline_engine::Fate;
use wakeline_proto::v1::{Event, EventType, Group, Rejected};

use super::decode::event_type;
use super::partition::Arrivals;
use crate::ledger::book;
use crate::live::{Live, LiveEvent, LiveMessage};
use crate::state::VisitorKey;

/// Publishes the fates of all events, and that figures changed.
pub(super) fn watchers(live: &Live, arrivals: &[(VisitorKey, Arrivals)]) {
    let mut watched: HashMap<u64, bool> = HashMap::new();
    for (key, arrivals) in arrivals {
        let site = key.site;
        if !*watched.entry(site).or_insert_with(|| live.watched(site)) {
            continue;
        }
        let visitor = format!("{:08x}", (key.hash >> 96) as u32);
        let mut fates = arrivals.fates.iter();
        for at in &arrivals.groups {
            for (event, fate) in at.group.events.iter().zip(fates.by_ref()) {
                let message = decided(&at.group, event, *fate, &visitor);
                live.publish(site, LiveMessage::Event(message));
            }
            for rejected in &at.group.rejected {
                let message = refused(&at.group, rejected, &visitor);
                live.publish(site, LiveMessage::Event(message));
            }
        }
    }
    for (site, watched) in watched {
        if watched {
            live.publish(site, LiveMessage::Changed);
        }
    }
}

fn decided(group: &Group, event: &Event, fate: Fate, visitor: &str) -> LiveEvent {
    LiveEvent {
        received_at: group.received_at,
        time: event.time,
        fate: book::name(fate),
        reason: None,
        detail: None,
        event_type: event_type(event).name().to_owned(),
        name: event.name.clone(),
        path: event.path.clone(),
        visitor: visitor.to_owned(),
    }
}

fn refused(group: &Group, rejected: &Rejected, visitor: &str) -> LiveEvent {
    let event: serde_json::Value = serde_json::from_slice(&rejected.payload).unwrap_or_default();
    let text = |key: &str| {
        let text = event.get(key).and_then(serde_json::Value::as_str);
        text.unwrap_or_default().chars().take(128).collect()
    };
    let event_type: String = text("type");
    LiveEvent {
        received_at: group.received_at,
        time: group.received_at,
        fate: "rejected",
        reason: Some(rejected.reason.clone()),
        detail: Some(rejected.detail.clone()).filter(|detail| !detail.is_empty()),
        event_type: EventType::from_name(&event_type)
            .map_or(event_type, |known| known.name().to_owned()),
        name: text("name"),
        path: String::new(),
        visitor: visitor.to_owned(),
    }
}
