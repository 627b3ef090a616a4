//! The metrics, each defined in one place.

use serde_json::Value;
use wakeline_engine::Row;

/// A figure that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metric {
    Visitors,
    Visits,
    Pageviews,
    Events,
    ViewsPerVisit,
    BounceRate,
    VisitDuration,
}

/// Every metric under the name it has in requests.
pub(super) const METRICS: [(&str, Metric); 7] = [
    ("visitors", Metric::Visitors),
    ("visits", Metric::Visits),
    ("pageviews", Metric::Pageviews),
    ("events", Metric::Events),
    ("views_per_visit", Metric::ViewsPerVisit),
    ("bounce_rate", Metric::BounceRate),
    ("visit_duration", Metric::VisitDuration),
];

impl Metric {
    pub(super) fn name(self) -> &'static str {
        let found = METRICS.iter().find(|(_, metric)| *metric == self);
        found.map_or("", |(name, _)| name)
    }

    /// Whether it is a property of visits: by page, of those that began there.
    pub(super) const fn is_of_visits(self) -> bool {
        matches!(
            self,
            Self::ViewsPerVisit | Self::BounceRate | Self::VisitDuration
        )
    }
}

/// The value of a metric; two of one metric compare as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Figure {
    Whole(i64),
    /// With two decimals.
    Hundredths(i64),
}

impl From<Figure> for Value {
    fn from(figure: Figure) -> Self {
        match figure {
            Figure::Whole(value) => value.into(),
            Figure::Hundredths(value) => (value as f64 / 100.0).into(),
        }
    }
}

/// What the metrics of one result are computed from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    visitors: i64,
    visits: i64,
    pageviews: i64,
    events: i64,
    /// The visits that session metrics speak of: all that began in the bucket, or those that began on the page.
    of_visits: Visits,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Visits {
    count: i64,
    bounces: i64,
    duration_ms: i64,
    pageviews: i64,
}

impl Sums {
    /// Adds a window of the whole site, `since` windows after the first of its bucket.
    pub(super) fn add_total(&mut self, row: &Row, since: u32) {
        self.add_page(row, since);
        self.add_entry_page(row);
    }

    /// Adds a day of a page, `since` days after the first of its bucket.
    pub(super) fn add_page(&mut self, row: &Row, since: u32) {
        self.visitors += row.visitors_since(since);
        self.visits += row.visits;
        self.pageviews += row.pageviews;
        self.events += row.events;
    }

    /// Adds a day of the visits that began on a page.
    pub(super) fn add_entry_page(&mut self, row: &Row) {
        self.of_visits.count += row.visits;
        self.of_visits.bounces += row.bounces;
        self.of_visits.duration_ms += row.duration_ms;
        self.of_visits.pageviews += row.pageviews;
    }

    /// Whether there was nothing that a metric counts.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn figure(&self, metric: Metric) -> Figure {
        let visits = &self.of_visits;
        match metric {
            Metric::Visitors => Figure::Whole(self.visitors),
            Metric::Visits => Figure::Whole(self.visits),
            Metric::Pageviews => Figure::Whole(self.pageviews),
            Metric::Events => Figure::Whole(self.events),
            Metric::ViewsPerVisit => {
                Figure::Hundredths(quotient(visits.pageviews, 100, visits.count))
            }
            Metric::BounceRate => Figure::Whole(quotient(visits.bounces, 100, visits.count)),
            Metric::VisitDuration => Figure::Whole(quotient(
                visits.duration_ms,
                1,
                visits.count.saturating_mul(1000),
            )),
        }
    }
}

/// `amount` × `scale` ÷ `count`, rounded half up; 0 of nothing.
fn quotient(amount: i64, scale: i64, count: i64) -> i64 {
    if count <= 0 {
        return 0;
    }
    let (amount, scale, count) = (i128::from(amount), i128::from(scale), i128::from(count));
    let rounded = (2 * amount * scale + count).div_euclid(2 * count);
    i64::try_from(rounded).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Figure, Metric, Row, Sums};

    fn figure(row: &Row, metric: Metric) -> Figure {
        let mut sums = Sums::default();
        sums.add_total(row, 0);
        sums.figure(metric)
    }

    #[test]
    fn rates_are_rounded_as_documented() {
        let row = Row {
            visits: 8,
            bounces: 1,
            duration_ms: 12_000,
            pageviews: 21,
            ..Row::default()
        };
        // 12.5 %, 1.5 s, 2.625
        assert_eq!(figure(&row, Metric::BounceRate), Figure::Whole(13));
        assert_eq!(figure(&row, Metric::VisitDuration), Figure::Whole(2));
        assert_eq!(figure(&row, Metric::ViewsPerVisit), Figure::Hundredths(263));
        assert_eq!(
            serde_json::Value::from(Figure::Hundredths(263)).to_string(),
            "2.63"
        );
    }

    #[test]
    fn rates_of_no_visits_are_zero() {
        let row = Row {
            events: 3,
            ..Row::default()
        };
        for metric in [Metric::BounceRate, Metric::VisitDuration] {
            assert_eq!(figure(&row, metric), Figure::Whole(0));
        }
        assert_eq!(figure(&row, Metric::ViewsPerVisit), Figure::Hundredths(0));
    }
}
