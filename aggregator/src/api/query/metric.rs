//! The metrics, each defined in one place.

use std::collections::BTreeMap;

use serde_json::Value;
use wakeline_engine::Row;

use super::{
    money::{Currency, Money},
    property::Property,
};

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
    NewVisitors,
    ReturningVisitors,
    Orders,
    TotalRevenue,
    AverageRevenue,
}

/// Every metric under the name it has in requests.
pub(super) const METRICS: [(&str, Metric); 12] = [
    ("visitors", Metric::Visitors),
    ("visits", Metric::Visits),
    ("pageviews", Metric::Pageviews),
    ("events", Metric::Events),
    ("views_per_visit", Metric::ViewsPerVisit),
    ("bounce_rate", Metric::BounceRate),
    ("visit_duration", Metric::VisitDuration),
    ("new_visitors", Metric::NewVisitors),
    ("returning_visitors", Metric::ReturningVisitors),
    ("orders", Metric::Orders),
    ("total_revenue", Metric::TotalRevenue),
    ("average_revenue", Metric::AverageRevenue),
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

    /// Whether it asks if visitors had been there before.
    pub(super) const fn is_of_history(self) -> bool {
        matches!(self, Self::NewVisitors | Self::ReturningVisitors)
    }

    pub(super) const fn is_money(self) -> bool {
        matches!(self, Self::TotalRevenue | Self::AverageRevenue)
    }

    /// Whether that of several values of a property follows from those of each.
    pub(super) fn adds_up(self, property: Property) -> bool {
        match self {
            Self::Visitors | Self::NewVisitors | Self::ReturningVisitors => false,
            Self::Visits => property.is_of_visits(),
            _ => true,
        }
    }
}

/// The value of a metric; two of one metric compare as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Figure {
    Whole(i64),
    /// With two decimals.
    Hundredths(i64),
    /// `None` if there is nothing to average, or it is of several currencies.
    Money(Option<Money>),
}

impl From<Figure> for Value {
    fn from(figure: Figure) -> Self {
        match figure {
            Figure::Whole(value) => value.into(),
            Figure::Hundredths(value) => (value as f64 / 100.0).into(),
            Figure::Money(money) => money.into(),
        }
    }
}

/// What the metrics of one result are computed from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    visitors: i64,
    new_visitors: i64,
    visits: i64,
    pageviews: i64,
    events: i64,
    orders: i64,
    /// As in [`Row::revenue`].
    revenue: BTreeMap<Currency, i64>,
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
    /// Adds a window of the whole site, or of visits with one value, `since` windows after the first of its bucket.
    pub(super) fn add_visits(&mut self, row: &Row, since: u32) {
        self.add_events(row, since);
        self.add_entry_page(row);
    }

    /// Adds a day of a page or of an event's name, `since` days after the first of its bucket.
    pub(super) fn add_events(&mut self, row: &Row, since: u32) {
        self.visitors += row.visitors_since(since);
        self.new_visitors += row.visitors_since(u32::MAX);
        self.visits += row.visits;
        self.pageviews += row.pageviews;
        self.events += row.events;
        self.orders += row.orders;
        for (currency, minor) in &row.revenue {
            let sum = self.revenue.entry(*currency).or_default();
            *sum = sum.wrapping_add(*minor);
        }
    }

    /// Adds a day of the visits that began on a page.
    pub(super) fn add_entry_page(&mut self, row: &Row) {
        self.of_visits.count += row.visits;
        self.of_visits.bounces += row.bounces;
        self.of_visits.duration_ms += row.duration_ms;
        self.of_visits.pageviews += row.pageviews;
    }

    /// Adds another value of the same bucket. Visitors of both count twice.
    pub(super) fn add(&mut self, other: &Self) {
        self.visitors += other.visitors;
        self.new_visitors += other.new_visitors;
        self.visits += other.visits;
        self.pageviews += other.pageviews;
        self.events += other.events;
        self.orders += other.orders;
        for (currency, minor) in &other.revenue {
            let sum = self.revenue.entry(*currency).or_default();
            *sum = sum.wrapping_add(*minor);
        }
        self.of_visits.count += other.of_visits.count;
        self.of_visits.bounces += other.of_visits.bounces;
        self.of_visits.duration_ms += other.of_visits.duration_ms;
        self.of_visits.pageviews += other.of_visits.pageviews;
    }

    /// The currencies of its orders.
    pub(super) fn currencies(&self) -> impl Iterator<Item = Currency> {
        self.revenue.keys().copied()
    }

    /// Revenue per order in `currency`; `None` without orders, and where some are of others.
    fn average(&self, currency: Currency) -> Option<i64> {
        let only = self.currencies().all(|other| other == currency);
        let revenue = self.revenue.get(&currency).copied().unwrap_or(0);
        (only && self.orders > 0).then(|| quotient(revenue, 1, self.orders))
    }

    /// Whether there was nothing that a metric counts.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The value of a metric; money is of `currency`.
    pub(super) fn figure(&self, metric: Metric, currency: Currency) -> Figure {
        let visits = &self.of_visits;
        let money = |minor| Money { minor, currency };
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
            Metric::NewVisitors => Figure::Whole(self.new_visitors),
            Metric::ReturningVisitors => Figure::Whole(self.visitors - self.new_visitors),
            Metric::Orders => Figure::Whole(self.orders),
            Metric::TotalRevenue => {
                let revenue = self.revenue.get(&currency).copied();
                Figure::Money(Some(money(revenue.unwrap_or(0))))
            }
            Metric::AverageRevenue => Figure::Money(self.average(currency).map(money)),
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
    use super::{Figure, Metric, Money, Row, Sums};

    fn figure(row: &Row, metric: Metric) -> Figure {
        let mut sums = Sums::default();
        sums.add_visits(row, 0);
        sums.figure(metric, *b"EUR")
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

    #[test]
    fn revenue_is_of_one_currency_and_averages_never_mix() {
        let money = |minor| {
            Figure::Money(Some(Money {
                minor,
                currency: *b"EUR",
            }))
        };
        let mut row = Row {
            orders: 2,
            revenue: vec![(*b"EUR", 1_999)],
            ..Row::default()
        };
        assert_eq!(figure(&row, Metric::TotalRevenue), money(1_999));
        assert_eq!(figure(&row, Metric::AverageRevenue), money(1_000));
        row.revenue.push((*b"USD", 5));
        assert_eq!(figure(&row, Metric::TotalRevenue), money(1_999));
        assert_eq!(figure(&row, Metric::AverageRevenue), Figure::Money(None));
        let nothing = Row::default();
        assert_eq!(figure(&nothing, Metric::TotalRevenue), money(0));
        assert_eq!(
            figure(&nothing, Metric::AverageRevenue),
            Figure::Money(None)
        );
    }

    #[test]
    fn new_visitors_are_those_never_seen_before() {
        let row = Row {
            visitors_by_gap: vec![(0, 5), (1, 3), (400, 2)],
            ..Row::default()
        };
        assert_eq!(figure(&row, Metric::NewVisitors), Figure::Whole(5));
        assert_eq!(figure(&row, Metric::ReturningVisitors), Figure::Whole(5));
    }
}
