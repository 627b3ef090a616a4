//! The engine as its users see it: rules as sentences, and laws for any history.

#![cfg(test)]

mod heard;
mod history;
mod laws;
mod model;
mod properties;
mod records;
mod rules;
mod windows;

use std::collections::BTreeMap;
use wakeline_engine::{Changes, Event, Row, RowKey, SiteRules, Visitor, apply, timezone};

/// Rows as a store would hold them.
type Rows = BTreeMap<RowKey, Row>;

fn add_to(rows: &mut Rows, changes: Changes) {
    for (key, change) in changes {
        rows.entry(key).or_default().add(&change);
    }
    rows.retain(|_, row| !row.is_zero());
}

/// Applies the events in calls of the given sizes, with the record written and read in between.
fn run(rules: &SiteRules, events: &[Event], sizes: &[usize]) -> (Vec<u8>, Rows) {
    let mut bytes = Vec::new();
    Visitor::default().encode(&mut bytes);
    let (mut rows, mut rest, mut sizes) = (Rows::new(), events, sizes.iter().cycle());
    while !rest.is_empty() {
        let size = sizes
            .next()
            .map_or(rest.len(), |size| rest.len().min(*size));
        let (now, later) = rest.split_at(size);
        rest = later;
        let mut visitor = Visitor::decode(&bytes).unwrap();
        let mut changes = Changes::default();
        apply(&mut visitor, rules, now, &mut changes);
        add_to(&mut rows, changes);
        bytes.clear();
        visitor.encode(&mut bytes);
        assert_eq!(Visitor::decode(&bytes), Ok(visitor));
    }
    (bytes, rows)
}

fn rules(zone: &str, gap_minutes: i64) -> SiteRules {
    SiteRules {
        timezone: timezone(zone).unwrap(),
        gap_ms: gap_minutes * 60_000,
        seal_after_ms: None,
    }
}

/// An instant in ms.
fn ms(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}
