//! The answer from events: visitor by visitor, visits are cut, conditions asked, and rows added to.
//!
//! Visitors come one at a time, so that a row remembers only which visitor it counted last: distinct counts are exact,
//! and memory grows with the rows of the answer, not with the visitors.

mod compile;
mod sample;
mod visits;

use std::ops::Range;

use jiff::tz::TimeZone;
use wakeline_engine::{
    Kind,
    window::{day_window, start_of_day},
};

use crate::{
    QueryError,
    answer::{Cell, Rows},
    batch::{Batch, NO_SCROLL, Texts},
    filter::Filter,
    goal::Definitions,
    metric::{Metric, Sums},
    property::Field,
    question::Question,
    time::Time,
};

use self::{
    compile::{Compiled, Keys, Moment},
    visits::{Days, Visit},
};

pub use self::sample::{Sample, SampledEvent};

/// Midnights that a visit may cross, and one: so far around a range events decide what its visits are.
const DAYS_AROUND: i64 = 3;
/// Rows that are counted, before paging.
const MAX_ROWS: usize = 1_000_000;

/// How a site counts.
#[derive(Clone, Debug)]
pub struct SiteRules {
    /// Where its days begin.
    pub timezone: TimeZone,
    /// A visit ends when nothing happens for longer than this, in ms.
    pub gap_ms: i64,
}

/// A question on its way through the events.
#[derive(Debug)]
pub struct Scan {
    time: Time,
    rules: SiteRules,
    compiled: Compiled,
    wants: Wants,
    rows: Table,
    /// Visitors of the question without goals and event properties, by row.
    base_rows: Table,
    visitors_of_all: i64,
    base: i64,
    /// The day of each bucket, if it is asked who is new.
    first_days: Vec<i64>,
    visitor: u64,
    visit: u64,
}

/// What of a question needs work of its own.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "flags, each on its own")]
struct Wants {
    of_visits: bool,
    engagement: bool,
    history: bool,
    conversion: bool,
    /// Visits belong to the window of their last event.
    exits: bool,
}

/// Rows by their key: the numbers of labels, and of the bucket, in the order of the dimensions.
#[derive(Debug, Default)]
struct Table {
    places: std::collections::HashMap<Box<[u32]>, usize, foldhash::fast::RandomState>,
    rows: Vec<Row>,
}

/// Sums and what was counted last.
#[derive(Debug, Default)]
struct Row {
    sums: Sums,
    visitor: u64,
    visit: u64,
    attentive_visit: u64,
    scrolled_visit: u64,
    scrolled: i64,
}

impl Table {
    fn row(&mut self, key: &[u32]) -> &mut Row {
        let place = if let Some(place) = self.places.get(key) {
            *place
        } else {
            let place = self.rows.len();
            self.places.insert(key.into(), place);
            self.rows.push(Row::default());
            place
        };
        &mut self.rows[place]
    }
}

impl Scan {
    /// Of a question over a time. `filters` are its filters, with segments expanded.
    pub fn new(
        question: &Question,
        definitions: &Definitions,
        filters: &Filter,
        time: Time,
        rules: SiteRules,
    ) -> Self {
        let wants = Wants {
            of_visits: question.asks(Metric::is_of_visits),
            engagement: question.asks(Metric::is_of_engagement),
            history: question.asks(Metric::is_of_history),
            conversion: question.asks(Metric::is_of_conversion),
            exits: filters.speaks_of(crate::property::Property::is_of_exits)
                || question
                    .properties()
                    .any(crate::property::Property::is_of_exits),
        };
        let first_days = if wants.history {
            let buckets = time.buckets.iter();
            buckets
                .map(|bucket| day_window(&time.zone, bucket.span.start))
                .collect()
        } else {
            Vec::new()
        };
        Self {
            compiled: Compiled::new(question, definitions, filters),
            time,
            rules,
            wants,
            rows: Table::default(),
            base_rows: Table::default(),
            visitors_of_all: 0,
            base: 0,
            first_days,
            visitor: 0,
            visit: 0,
        }
    }

    /// The texts that events have to come with, in this order.
    pub fn fields(&self) -> &[Field] {
        &self.compiled.fields
    }

    /// From when to when events are needed, in Unix milliseconds.
    pub fn reads(&self) -> Range<i64> {
        let around = around(&self.time);
        let start = if self.wants.history {
            i64::MIN
        } else {
            around.start
        };
        start..around.end
    }

    /// Counts the visitors of a batch, all of whose events in [`reads`](Self::reads) are in it; `texts` are those that it
    /// and all batches before it were made with.
    pub fn add(&mut self, batch: &Batch, texts: &Texts) -> Result<(), QueryError> {
        self.compiled.learn(texts);
        let mut start = 0;
        let mut order: Vec<usize> = Vec::new();
        for end in &batch.ends {
            order.clear();
            order.extend(start..*end);
            start = *end;
            let key = |at: &usize| (batch.time_ms[*at], batch.id[*at]);
            if !order.is_sorted_by_key(key) {
                order.sort_unstable_by_key(key);
            }
            self.add_visitor(batch, &order);
            if self.rows.rows.len() + self.base_rows.rows.len() > MAX_ROWS {
                return Err(QueryError::new(format!(
                    "dimensions: the answer has more than {MAX_ROWS} rows: choose fewer dimensions, more filters or a \
                     shorter date_range"
                )));
            }
        }
        Ok(())
    }

    fn add_visitor(&mut self, batch: &Batch, events: &[usize]) {
        self.visitor += 1;
        let range = self.time.range.clone();
        let in_range = events.partition_point(|at| batch.time_ms[*at] < range.start);
        if events
            .get(in_range)
            .is_none_or(|at| batch.time_ms[*at] >= range.end)
        {
            return;
        }
        let first_day = self.first_days.first().and_then(|_| {
            let mut events = events.iter();
            let first = events.find(|at| batch.kind[**at] != Kind::Engagement)?;
            Some(day_window(&self.time.zone, batch.time_ms[*first]))
        });
        let mut days = Days::new(&self.time.zone);
        let mut seen = Seen {
            first_day,
            of_all: false,
            base: false,
        };
        for visit in visits::cut(
            batch,
            self.compiled.page,
            events,
            self.rules.gap_ms,
            &mut days,
        ) {
            let (first, last) = visit.span(batch);
            if last >= range.start && first < range.end {
                self.visit += 1;
                self.add_visit(batch, &visit, &mut seen);
            }
        }
        self.visitors_of_all += i64::from(seen.of_all);
        self.base += i64::from(seen.base);
    }

    fn add_visit(&mut self, batch: &Batch, visit: &Visit<'_>, seen: &mut Seen) {
        let (first, last) = visit.span(batch);
        let anchor = if self.wants.exits { last } else { first };
        let anchor = visit.counts.then(|| self.time.bucket(anchor)).flatten();
        let compiled = &self.compiled;
        let deeds = compiled.deeds_of(batch, visit);
        let mut keys = Keys::default();
        for &at in visit.events {
            let bucket = self.time.bucket(batch.time_ms[at]);
            let counts = batch.kind[at] != Kind::Engagement;
            let matters = if counts {
                bucket.is_some() || anchor.is_some()
            } else {
                self.wants.engagement && bucket.is_some() && visit.counts
            };
            if !matters {
                continue;
            }
            let moment = Moment {
                batch,
                visit,
                deeds: &deeds,
                at,
            };
            if let Some(bucket) = bucket
                && self.wants.conversion
                && counts
                && compiled.holds(compiled.base.as_ref(), &moment)
            {
                seen.base = true;
                compiled.keys(&compiled.base_rows, &moment, &mut keys);
                while keys.advance() {
                    let row = self.base_rows.row(keys.at(bucket));
                    row.sums.visitors += i64::from(row.visitor != self.visitor);
                    row.visitor = self.visitor;
                }
            }
            if !compiled.holds(compiled.main.as_ref(), &moment) {
                continue;
            }
            seen.of_all |= counts && bucket.is_some();
            compiled.keys(&compiled.rows, &moment, &mut keys);
            while keys.advance() {
                if let Some(bucket) = bucket {
                    let row = self.rows.row(keys.at(bucket));
                    if counts {
                        let new = seen
                            .first_day
                            .is_some_and(|day| day >= self.first_days[bucket]);
                        row.count(batch, at, self.visitor, new);
                    } else {
                        row.attend(batch, at, self.visit);
                    }
                }
                if counts && let Some(bucket) = anchor {
                    let row = self.rows.row(keys.at(bucket));
                    row.sums.visits += i64::from(row.visit != self.visit);
                    row.visit = self.visit;
                }
            }
        }
        if self.wants.of_visits {
            self.add_figures_of_visit(batch, visit, &deeds, anchor);
        }
    }

    /// Adds what is told of visits: to the row of the page that it began on, if that is a dimension.
    fn add_figures_of_visit(
        &mut self,
        batch: &Batch,
        visit: &Visit<'_>,
        deeds: &[bool],
        anchor: Option<usize>,
    ) {
        let compiled = &self.compiled;
        let moments = visit.counted(batch).map(|at| Moment {
            batch,
            visit,
            deeds,
            at,
        });
        let mut fitting =
            moments.filter(|moment| compiled.holds(compiled.of_visits.as_ref(), moment));
        let Some(moment) = fitting.next() else {
            return;
        };
        let mut keys = Keys::default();
        compiled.keys(&compiled.rows_of_visits, &moment, &mut keys);
        if !keys.advance() {
            return;
        }
        if let Some(bucket) = anchor {
            let bounce = visit.pageviews == 1 && !visit.interactive;
            let (first, last) = visit.span(batch);
            let sums = &mut self.rows.row(keys.at(bucket)).sums.of_visits;
            sums.count += 1;
            sums.bounces += i64::from(bounce);
            sums.duration_ms += if bounce { 0 } else { last - first };
        }
        for &at in visit.events {
            if batch.kind[at] == Kind::Pageview
                && let Some(bucket) = self.time.bucket(batch.time_ms[at])
            {
                let row = self.rows.row(keys.at(bucket));
                row.sums.of_visits.pageviews += 1;
            }
        }
    }

    /// The rows of the answer.
    pub fn finish(self, question: &Question) -> Rows {
        let compiled = &self.compiled;
        let mut rows = Vec::with_capacity(self.rows.rows.len());
        let mut sums: Vec<Sums> = self.rows.rows.into_iter().map(|row| row.sums).collect();
        for (key, place) in self.rows.places {
            let mut sums = std::mem::take(&mut sums[place]);
            sums.visitors_of_all = self.visitors_of_all;
            sums.base = self.base;
            let base = self
                .base_rows
                .places
                .get(compiled.base_key(&key).as_slice());
            sums.base_of_row = base.map_or(0, |place| self.base_rows.rows[*place].sums.visitors);
            let cells = key.iter().enumerate().map(|(dimension, number)| {
                if compiled.time() == Some(dimension) {
                    Cell::Bucket(*number as usize)
                } else {
                    Cell::Text(compiled.labels.get(*number).to_owned())
                }
            });
            rows.push((cells.collect(), sums));
        }
        Rows::new(question, rows)
    }
}

/// A time with the days around it whose events decide what its visits are, in Unix milliseconds.
fn around(Time { zone, range, .. }: &Time) -> Range<i64> {
    let first = day_window(zone, range.start) - DAYS_AROUND;
    let end = day_window(zone, range.end - 1) + DAYS_AROUND + 1;
    start_of_day(zone, first)..start_of_day(zone, end)
}

/// What is known of the visitor whose visits are counted.
struct Seen {
    first_day: Option<i64>,
    of_all: bool,
    base: bool,
}

impl Row {
    /// Counts an event.
    fn count(&mut self, batch: &Batch, at: usize, visitor: u64, new: bool) {
        let sums = &mut self.sums;
        if self.visitor != visitor {
            self.visitor = visitor;
            sums.visitors += 1;
            sums.new_visitors += i64::from(new);
        }
        sums.events += 1;
        sums.pageviews += i64::from(batch.kind[at] == Kind::Pageview);
        if let Some(order) = batch.order_value[at] {
            sums.orders += 1;
            sums.add_revenue(order.currency, order.minor);
        }
    }

    /// Counts attention.
    fn attend(&mut self, batch: &Batch, at: usize, visit: u64) {
        let (attention, scroll) = (batch.engagement_ms[at], batch.scroll[at]);
        if attention > 0 {
            self.sums.attention.sum += i64::from(attention);
            self.sums.attention.visits += i64::from(self.attentive_visit != visit);
            self.attentive_visit = visit;
        }
        if scroll != NO_SCROLL && scroll <= 100 {
            if self.scrolled_visit != visit {
                self.scrolled_visit = visit;
                self.scrolled = 0;
                self.sums.scroll.visits += 1;
            }
            let deeper = (i64::from(scroll) - self.scrolled).max(0);
            self.scrolled += deeper;
            self.sums.scroll.sum += deeper;
        }
    }
}
