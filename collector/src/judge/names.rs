//! How many different names of events and properties a site may have: reports, and what a dashboard has to list, grow with
//! them, and a name that is made by a program (`order-8172`) grows without end.
//!
//! Counted by UTC day and site, at each collector alone, in memory: eight bytes a name.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use wakeline_proto::{Reason, v1};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::Refused;
use crate::config::LimitsConfig;

const DAY_MS: u64 = 86_400_000;
/// Names of a request that are remembered while it is judged.
const MAX_PASSED: usize = 32;

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

/// Hashes of names that events of a request had which were not refused.
#[derive(Debug, Default)]
pub(super) struct Passed(Vec<u64>);

impl Names {
    pub(crate) fn new(limits: &LimitsConfig) -> Self {
        Self {
            max_events: limits.event_names,
            max_properties: limits.property_names,
            today: Mutex::default(),
        }
    }

    /// Takes note of an event's names; refuses it, and notes none, if one of them is one too many. `passed` are names of the
    /// request's other events, for which nobody needs to be asked again.
    pub(super) fn check(
        &self,
        site: u64,
        now: u64,
        event: &v1::Event,
        passed: &mut Passed,
    ) -> Result<(), Refused> {
        let is_named = event.r#type() == v1::EventType::Custom;
        let name = is_named.then(|| xxh3_64_with_seed(event.name.as_bytes(), 1));
        let properties = event.properties.iter();
        let properties = properties.map(|property| xxh3_64(property.name.as_bytes()));
        let mut all = name.into_iter().chain(properties.clone());
        if all.all(|name| passed.0.contains(&name)) {
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
        let is_new = name.is_some_and(|name| !seen.events.contains(&name));
        if is_new && seen.events.len() >= self.max_events {
            let detail = format!("the site has had {} event names today", self.max_events);
            return Err(Refused::new(Reason::TooManyNames, detail));
        }
        let fresh: HashSet<u64> = properties
            .clone()
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
        let room = MAX_PASSED.saturating_sub(passed.0.len());
        passed
            .0
            .extend(name.into_iter().chain(properties).take(room));
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

    /// Of a request of its own.
    fn check(names: &Names, site: u64, now: u64, event: &v1::Event) -> Result<(), Refused> {
        names.check(site, now, event, &mut Passed::default())
    }

    #[test]
    fn names_that_a_request_had_before_pass_and_others_are_counted() {
        let names = names(2, 2);
        let mut passed = Passed::default();
        let mut check = |name: &str, properties: &[&str]| {
            let event = event(name, properties);
            names.check(1, 0, &event, &mut passed).is_ok()
        };
        assert!(check("a", &["x"]) && check("a", &["x"]));
        assert!(check("x", &[]), "a property's name is no event's");
        assert!(!check("b", &["x"]), "one too many");
        assert!(check("a", &["y"]) && !check("a", &["z"]));
    }

    #[test]
    fn known_names_pass_when_new_ones_are_too_many_and_a_new_day_begins_anew() {
        let names = names(2, 100);
        let passes = |site, now, name: &str| check(&names, site, now, &event(name, &[])).is_ok();
        assert!(passes(1, 0, "a") && passes(1, 0, "b") && passes(1, 0, "a"));
        assert!(!passes(1, 0, "c"), "one too many");
        assert!(passes(1, 0, "b"), "known ones still pass");
        assert!(passes(2, 0, "c"), "another site has names of its own");
        assert!(passes(1, DAY_MS, "c"), "a new day");
    }

    #[test]
    fn an_event_that_is_refused_leaves_no_names() {
        let names = names(10, 3);
        let check = |name: &str, properties: &[&str]| check(&names, 1, 0, &event(name, properties));
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
        assert!(check(&names, 1, 0, &view).is_ok());
    }
}
