//! The metrics, each defined in one place.

use std::collections::BTreeMap;

use serde_json::Value;
use wakeline_engine::Row;

use crate::{
    money::{Currency, Money},
    property::Property,
};

/// A figure that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metric {
    /// Distinct visitors with an event, engagement aside.
    Visitors,
    /// Visits that began in the window (by exit page: that ended in it) and had such an event.
    Visits,
    /// Page and screen views.
    Pageviews,
    /// Events of all kinds but engagement.
    Events,
    /// Pageviews ÷ visits, two decimals.
    ViewsPerVisit,
    /// Visits of one pageview and no interactive event, in whole % of visits.
    BounceRate,
    /// Last event − first event of a visit, mean over visits in whole seconds; a bounce is 0.
    VisitDuration,
    /// Visitors that were not seen before the first day.
    NewVisitors,
    /// Visitors that were.
    ReturningVisitors,
    /// Orders.
    Orders,
    /// Value of the orders.
    TotalRevenue,
    /// Value of the orders ÷ orders.
    AverageRevenue,
    /// Visitors in % of those of all rows together, one decimal.
    Percentage,
    /// Visitors in % of those of the question without its goals and event properties, one decimal.
    ConversionRate,
    /// The same, of those in the row.
    GroupConversionRate,
    /// Attention to the page in whole seconds ÷ visits that sent any.
    TimeOnPage,
    /// Deepest scroll of the page in %, mean over visits that sent any.
    ScrollDepth,
}

/// Every metric under the name it has in questions.
pub(crate) const METRICS: [(&str, Metric); 17] = [
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
    ("percentage", Metric::Percentage),
    ("conversion_rate", Metric::ConversionRate),
    ("group_conversion_rate", Metric::GroupConversionRate),
    ("time_on_page", Metric::TimeOnPage),
    ("scroll_depth", Metric::ScrollDepth),
];

impl Metric {
    /// The metric of that name.
    pub fn find(name: &str) -> Option<Self> {
        let found = METRICS.iter().find(|(known, _)| *known == name);
        found.map(|(_, metric)| *metric)
    }

    /// Its name in questions.
    pub fn name(self) -> &'static str {
        let found = METRICS.iter().find(|(_, metric)| *metric == self);
        found.map_or("", |(name, _)| name)
    }

    /// Whether it is a property of visits: by page, of those that began there.
    pub(crate) const fn is_of_visits(self) -> bool {
        matches!(
            self,
            Self::ViewsPerVisit | Self::BounceRate | Self::VisitDuration
        )
    }

    /// Whether it asks if visitors had been there before.
    pub(crate) const fn is_of_history(self) -> bool {
        matches!(self, Self::NewVisitors | Self::ReturningVisitors)
    }

    /// Whether it is made of engagement events.
    pub(crate) const fn is_of_engagement(self) -> bool {
        matches!(self, Self::TimeOnPage | Self::ScrollDepth)
    }

    /// Whether it compares with what a question without goals gives.
    pub(crate) const fn is_of_conversion(self) -> bool {
        matches!(self, Self::ConversionRate | Self::GroupConversionRate)
    }

    pub(crate) const fn is_money(self) -> bool {
        matches!(self, Self::TotalRevenue | Self::AverageRevenue)
    }

    /// Whether that of several values of a property follows from those of each.
    pub(crate) fn adds_up(self, property: &Property) -> bool {
        match self {
            Self::Visitors | Self::NewVisitors | Self::ReturningVisitors => false,
            Self::Visits => property.is_of_visits(),
            _ => true,
        }
    }
}

/// The value of a metric; two of one metric compare as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    /// There is nothing to average.
    Nothing,
    /// A count, whole seconds or whole percent.
    Whole(i64),
    /// With one decimal.
    Tenths(i64),
    /// With two decimals.
    Hundredths(i64),
    /// `None` if there is nothing to average, or it is of several currencies.
    Money(Option<Money>),
}

impl From<Figure> for Value {
    fn from(figure: Figure) -> Self {
        match figure {
            Figure::Nothing => Self::Null,
            Figure::Whole(value) => value.into(),
            Figure::Tenths(value) => (value as f64 / 10.0).into(),
            Figure::Hundredths(value) => (value as f64 / 100.0).into(),
            Figure::Money(money) => money.into(),
        }
    }
}

/// What the metrics of one row are computed from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) visitors: i64,
    pub(crate) new_visitors: i64,
    pub(crate) visits: i64,
    pub(crate) pageviews: i64,
    pub(crate) events: i64,
    pub(crate) orders: i64,
    /// As in [`Row::revenue`].
    pub(crate) revenue: BTreeMap<Currency, i64>,
    /// The visits that session metrics speak of: all that began in the bucket, or those that began on the page.
    pub(crate) of_visits: Visits,
    /// Attention in ms, and the visits that sent any.
    pub(crate) attention: Mean,
    /// Deepest scroll in %, and the visits that sent any.
    pub(crate) scroll: Mean,
    /// Visitors of all rows together.
    pub(crate) visitors_of_all: i64,
    /// Visitors without goals and event properties: of all rows together, and of the row.
    pub(crate) base: i64,
    pub(crate) base_of_row: i64,
}

/// Figures of the visits of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Visits {
    pub(crate) count: i64,
    pub(crate) bounces: i64,
    pub(crate) duration_ms: i64,
    pub(crate) pageviews: i64,
}

/// A sum and over how many visits it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mean {
    pub(crate) sum: i64,
    pub(crate) visits: i64,
}

impl Sums {
    /// Adds a window of the whole site, or of visits with one value, `since` windows after the first of its bucket.
    pub(crate) fn add_visits(&mut self, row: &Row, since: u32) {
        self.add_events(row, since);
        self.add_entry_page(row);
    }

    /// Adds a day of a page or of an event's name, `since` days after the first of its bucket.
    pub(crate) fn add_events(&mut self, row: &Row, since: u32) {
        self.visitors += row.visitors_since(since);
        self.new_visitors += row.visitors_since(u32::MAX);
        self.visits += row.visits;
        self.pageviews += row.pageviews;
        self.events += row.events;
        self.orders += row.orders;
        for (currency, minor) in &row.revenue {
            self.add_revenue(*currency, *minor);
        }
    }

    /// Adds a day of the visits that began on a page.
    pub(crate) fn add_entry_page(&mut self, row: &Row) {
        self.of_visits.count += row.visits;
        self.of_visits.bounces += row.bounces;
        self.of_visits.duration_ms = self.of_visits.duration_ms.wrapping_add(row.duration_ms);
        self.of_visits.pageviews += row.pageviews;
    }

    /// Adds an amount; what comes to nothing is no currency of the row.
    pub(crate) fn add_revenue(&mut self, currency: Currency, minor: i64) {
        let sum = self.revenue.entry(currency).or_default();
        *sum = sum.wrapping_add(minor);
        if *sum == 0 {
            self.revenue.remove(&currency);
        }
    }

    /// The currencies of its orders.
    pub(crate) fn currencies(&self) -> impl Iterator<Item = Currency> {
        self.revenue.keys().copied()
    }

    /// Revenue per order in `currency`; `None` without orders, and where some are of others.
    fn average(&self, currency: Currency) -> Option<i64> {
        let only = self.currencies().all(|other| other == currency);
        let revenue = self.revenue.get(&currency).copied().unwrap_or(0);
        (only && self.orders > 0).then(|| quotient(revenue, 1, self.orders))
    }

    /// Whether there was nobody, and no visit: such a row is not in an answer that is broken down.
    pub(crate) fn is_empty(&self) -> bool {
        self.visitors == 0
            && self.visits == 0
            && self.attention.visits == 0
            && self.scroll.visits == 0
    }

    /// The value of a metric; money is of `currency`.
    pub(crate) fn figure(&self, metric: Metric, currency: Currency) -> Figure {
        let visits = &self.of_visits;
        let money = |minor| Money { minor, currency };
        let share = |of| Figure::Tenths(quotient(self.visitors, 1_000, of));
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
            Metric::Percentage => share(self.visitors_of_all),
            Metric::ConversionRate => share(self.base),
            Metric::GroupConversionRate => share(self.base_of_row),
            Metric::TimeOnPage => self.attention.figure(1_000),
            Metric::ScrollDepth => self.scroll.figure(1),
        }
    }
}

impl Mean {
    /// The mean in units of which one is `unit` of the sum's, whole.
    fn figure(self, unit: i64) -> Figure {
        if self.visits == 0 {
            return Figure::Nothing;
        }
        Figure::Whole(quotient(self.sum, 1, self.visits.saturating_mul(unit)))
    }
}

/// `amount` × `scale` ÷ `count`, rounded half up; 0 of nothing.
pub(crate) fn quotient(amount: i64, scale: i64, count: i64) -> i64 {
    if count <= 0 {
        return 0;
    }
    let (amount, scale, count) = (i128::from(amount), i128::from(scale), i128::from(count));
    let rounded = (2 * amount * scale + count).div_euclid(2 * count);
    i64::try_from(rounded).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Figure, Mean, Metric, Money, Row, Sums};

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
        let sums = Sums {
            visitors: 1,
            base: 3,
            attention: Mean {
                sum: 4_500,
                visits: 3,
            },
            ..Sums::default()
        };
        let of = |metric| serde_json::Value::from(sums.figure(metric, *b"EUR")).to_string();
        assert_eq!(of(Metric::ConversionRate), "33.3");
        assert_eq!(of(Metric::TimeOnPage), "2");
        assert_eq!(of(Metric::ScrollDepth), "null");
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
