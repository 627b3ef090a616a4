//! How many different names of events and properties a site may have: reports, and what a dashboard has to list, grow with
//! them, and a name that is made by a program (`order-8172`) grows without end.
//!
//! Counted by UTC day and site, at each collector alone, in memory: eight bytes a name.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use wakeline_proto::{Reason, v1};
use xxhash_rust::xxh3::xxh3_64;

use super::Refused;
use crate::config::LimitsConfig;

const DAY_MS: u64 = 86_400_000;

/// The names that were accepted today.
#[derive(Debug)]
pub(crate) struct Names {
    max_events: usize,
    max_properties: usize,
    today: Mutex<Today>,
}

#[derive(Debug, Default)]
struct Today {
    /// Days since 1970-01-01 UTC.
    day: u64,
    sites: HashMap<u64, Seen>,
}

/// Hashes of names.
#[derive(Debug, Default)]
struct Seen {
    events: HashSet<u64>,
    properties: HashSet<u64>,
}

impl Names {
    pub(crate) fn new(limits: &LimitsConfig) -> Self {
        Self {
            max_events: limits.event_names,
            max_properties: limits.property_names,
            today: Mutex::default(),
        }
    }

    /// Takes note of an event's names; refuses it, and notes none, if one of them is one too many.
    pub(super) fn check(&self, site: u64, now: u64, event: &v1::Event) -> Result<(), Refused> {
        let is_named = event.r#type() == v1::EventType::Custom;
        if !is_named && event.properties.is_empty() {
            return Ok(());
        }
        let mut today = self.today.lock().unwrap_or_else(PoisonError::into_inner);
        if today.day != now / DAY_MS {
            *today = Today {
                day: now / DAY_MS,
                sites: HashMap::new(),
            };
        }
        let seen = today.sites.entry(site).or_default();
        let name = is_named.then(|| xxh3_64(event.name.as_bytes()));
        let is_new = name.is_some_and(|name| !seen.events.contains(&name));
        if is_new && seen.events.len() >= self.max_events {
            let detail = format!("the site has had {} event names today", self.max_events);
            return Err(Refused::new(Reason::TooManyNames, detail));
        }
        let names = event.properties.iter();
        let fresh: HashSet<u64> = names
            .map(|property| xxh3_64(property.name.as_bytes()))
            .filter(|name| !seen.properties.contains(name))
            .collect();
        if !fresh.is_empty() && seen.properties.len() + fresh.len() > self.max_properties {
            let detail = format!(
                "the site has had {} property names today",
                seen.properties.len()
            );
            return Err(Refused::new(Reason::TooManyNames, detail));
        }
        seen.events.extend(name.filter(|_| is_new));
        seen.properties.extend(fresh);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, properties: &[&str]) -> v1::Event {
        let property = |name: &&str| v1::Property {
            name: (*name).to_owned(),
            value: None,
        };
        v1::Event {
            r#type: v1::EventType::Custom.into(),
            name: name.to_owned(),
            properties: properties.iter().map(property).collect(),
            ..v1::Event::default()
        }
    }

    fn names(event_names: usize, property_names: usize) -> Names {
        Names::new(&LimitsConfig {
            event_names,
            property_names,
            ..LimitsConfig::default()
        })
    }

    #[test]
    fn known_names_pass_when_new_ones_are_too_many_and_a_new_day_begins_anew() {
        let names = names(2, 100);
        let passes = |site, now, name: &str| names.check(site, now, &event(name, &[])).is_ok();
        assert!(passes(1, 0, "a") && passes(1, 0, "b") && passes(1, 0, "a"));
        assert!(!passes(1, 0, "c"), "one too many");
        assert!(passes(1, 0, "b"), "known ones still pass");
        assert!(passes(2, 0, "c"), "another site has names of its own");
        assert!(passes(1, DAY_MS, "c"), "a new day");
    }

    #[test]
    fn an_event_that_is_refused_leaves_no_names() {
        let names = names(10, 3);
        let check = |name: &str, properties: &[&str]| names.check(1, 0, &event(name, properties));
        assert!(check("a", &["x", "y"]).is_ok());
        let refused = check("b", &["z", "zz"]);
        assert!(refused.is_err_and(|refused| refused.reason == Reason::TooManyNames));
        assert!(check("b", &["x", "z"]).is_ok(), "there was room for one");
        assert!(check("c", &["zz"]).is_err());
    }

    #[test]
    fn page_views_have_no_name_of_their_own() {
        let names = names(0, 0);
        let view = v1::Event {
            r#type: v1::EventType::PageView.into(),
            name: "title".to_owned(),
            ..v1::Event::default()
        };
        assert!(names.check(1, 0, &view).is_ok());
    }
}
