//! What InfluxDB has of windows written lately, so that only what differs is written.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use super::line::{Value, line};
use super::points::Points;
use crate::state::SiteWindow;

/// Hashes of values, by line and field.
pub(super) type Fields = HashMap<String, HashMap<String, u64>>;

/// A window as it was written.
struct Window {
    at: Instant,
    fields: Fields,
}

/// What was written of each window.
pub(super) struct Known {
    windows: HashMap<SiteWindow, Window>,
    /// Of all windows.
    fields: usize,
    limit: usize,
}

impl Known {
    /// Remembers about `limit` fields.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            windows: HashMap::new(),
            fields: 0,
            limit,
        }
    }

    /// How long ago a window was written; `None` if that is not known.
    pub(super) fn age(&self, window: &SiteWindow, now: Instant) -> Option<Duration> {
        let written = self.windows.get(window)?.at;
        Some(now.saturating_duration_since(written))
    }

    /// Whether anything is known of a window.
    pub(super) fn has(&self, window: &SiteWindow) -> bool {
        self.windows.contains_key(window)
    }

    /// The lines that make a window's points what they are to be, and what is there once these are written.
    pub(super) fn difference(
        &self,
        window: &SiteWindow,
        seconds: i64,
        mut points: Points,
    ) -> (Vec<String>, Fields) {
        let before = self.windows.get(window).map(|known| &known.fields);
        for (series, fields) in before.into_iter().flatten() {
            let now = points.entry(series.clone()).or_default();
            for field in fields.keys() {
                if !now.contains_key(field) {
                    now.insert(field.clone(), gone(field));
                }
            }
        }
        let mut lines = Vec::new();
        let mut after = Fields::new();
        for (series, fields) in points {
            let of_series = before.and_then(|before| before.get(&series));
            let changed = fields.iter().filter(|(name, value)| {
                let known = of_series.and_then(|fields| fields.get(*name));
                known != Some(&hash(value))
            });
            let mut changed = changed
                .map(|(name, value)| (name.as_str(), value))
                .peekable();
            if changed.peek().is_some() {
                let mut text = String::new();
                line(&mut text, &series, changed, seconds);
                lines.push(text);
            }
            let hashes = fields
                .iter()
                .map(|(name, value)| (name.clone(), hash(value)));
            after.insert(series, hashes.collect());
        }
        (lines, after)
    }

    /// A window is in InfluxDB as it is.
    pub(super) fn put(&mut self, window: SiteWindow, fields: Fields, at: Instant) {
        if self.fields > self.limit {
            self.clear();
        }
        self.forget(&window);
        self.fields += count(&fields);
        self.windows.insert(window, Window { at, fields });
    }

    /// What there is of a window is not known any more.
    pub(super) fn forget(&mut self, window: &SiteWindow) {
        if let Some(before) = self.windows.remove(window) {
            self.fields -= count(&before.fields);
        }
    }

    /// Nothing is known any more.
    pub(super) fn clear(&mut self) {
        self.windows.clear();
        self.fields = 0;
    }
}

fn count(fields: &Fields) -> usize {
    fields.values().map(HashMap::len).sum()
}

/// What a field is set to whose value is gone.
fn gone(field: &str) -> Value {
    match field {
        "value" | "domain" | "row" => Value::Text(String::new()),
        _ => Value::Int(0),
    }
}

/// Of a value as it is kept.
pub(super) fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use wakeline_engine::Grain;

    use super::{Known, SiteWindow, Value};
    use crate::influx::points::Points;

    fn points(fields: &[(&str, i64)]) -> Points {
        let fields = fields
            .iter()
            .map(|(name, of)| ((*name).to_owned(), Value::Int(*of)));
        [("m".to_owned(), fields.collect())].into()
    }

    #[test]
    fn only_what_changed_is_written_and_what_is_gone_becomes_zero() {
        let window = SiteWindow {
            site: 1,
            grain: Grain::Day,
            window: 3,
        };
        let mut known = Known::new(100);
        let mut write = |of: &[(&str, i64)]| {
            let (lines, fields) = known.difference(&window, 9, points(of));
            known.put(window, fields, Instant::now());
            lines
        };
        assert_eq!(write(&[("a", 1), ("b", 2)]), ["m a=1i,b=2i 9\n"]);
        assert_eq!(write(&[("a", 1), ("b", 3)]), ["m b=3i 9\n"]);
        assert_eq!(write(&[("b", 3)]), ["m a=0i 9\n"]);
        assert!(write(&[("b", 3)]).is_empty());
        known.clear();
        let (lines, _) = known.difference(&window, 9, points(&[("b", 3)]));
        assert_eq!(lines, ["m b=3i 9\n"]);
    }
}
