//! Some of the events that a figure is of: the latest ones that the filters of a question let through.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use wakeline_engine::Id;

use super::{
    SiteRules, around,
    compile::{Compiled, Moment},
    visits::{self, Days, Visit},
};
use crate::{
    batch::{Batch, Texts},
    filter::Filter,
    goal::Definitions,
    money::Money,
    property::Field,
    question::Question,
    range,
    time::Time,
};

/// What is told of each event, in this order; source, country, device and browser are those of its visit's first event.
const TOLD: [Field; 7] = [
    Field::Name,
    Field::Page,
    Field::Hostname,
    Field::Source,
    Field::Country,
    Field::Device,
    Field::Browser,
];

/// An event as a sample shows it; texts are empty where there is none.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SampledEvent {
    /// Corrected, with the offset that held at the site.
    #[schema(example = "2026-11-21T14:03:09+01:00")]
    time: String,
    /// What reports call it.
    name: String,
    /// Path of the page.
    page: String,
    /// Host of the page.
    hostname: String,
    /// Of its visit.
    source: String,
    /// Of its visit: ISO 3166-1 alpha-2.
    country: String,
    /// Of its visit.
    device: String,
    /// Of its visit.
    browser: String,
    /// The order that it reports, as money.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<Value>,
}

/// A look for the latest events that a question is about, on its way through all of them.
///
/// Memory is that of the events it will show.
#[derive(Debug)]
pub struct Sample {
    time: Time,
    rules: SiteRules,
    compiled: Compiled,
    /// Columns of [`TOLD`].
    told: [usize; 7],
    limit: usize,
    /// The latest so far, of which the earliest is on top.
    latest: BinaryHeap<Reverse<Found>>,
    matching: u64,
}

/// An event that fits. By time, then as the engine orders equal times.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    time_ms: i64,
    id: Id,
    texts: [String; 7],
    money: Option<Money>,
}

impl Sample {
    /// Of a question over a time: at most `limit` events. `filters` are its filters, with segments expanded.
    pub fn new(
        question: &Question,
        definitions: &Definitions,
        filters: &Filter,
        time: Time,
        rules: SiteRules,
        limit: usize,
    ) -> Self {
        let mut compiled = Compiled::new(question, definitions, filters);
        let told = TOLD.map(|field| compiled.column(&field));
        Self {
            time,
            rules,
            compiled,
            told,
            limit,
            latest: BinaryHeap::new(),
            matching: 0,
        }
    }

    /// As of [`Scan`](super::Scan::fields).
    pub fn fields(&self) -> &[Field] {
        &self.compiled.fields
    }

    /// As of [`Scan`](super::Scan::reads).
    pub fn reads(&self) -> Range<i64> {
        around(&self.time)
    }

    /// As of [`Scan`](super::Scan::add).
    pub fn add(&mut self, batch: &Batch, texts: &Texts) {
        self.compiled.learn(texts);
        let zone = self.rules.timezone.clone();
        let mut days = Days::new(&zone);
        let mut start = 0;
        let mut order: Vec<usize> = Vec::new();
        for end in &batch.ends {
            order.clear();
            order.extend(start..*end);
            start = *end;
            order.sort_unstable_by_key(|at| (batch.time_ms[*at], batch.id[*at]));
            let (page, gap) = (self.compiled.page, self.rules.gap_ms);
            for visit in visits::cut(batch, page, &order, gap, &mut days) {
                self.add_visit(batch, texts, &visit);
            }
        }
    }

    fn add_visit(&mut self, batch: &Batch, texts: &Texts, visit: &Visit<'_>) {
        let (first, last) = visit.span(batch);
        if last < self.time.range.start || first >= self.time.range.end {
            return;
        }
        let deeds = self.compiled.deeds_of(batch, visit);
        for at in visit.counted(batch) {
            let moment = Moment {
                batch,
                visit,
                deeds: &deeds,
                at,
            };
            let fits = self.time.range.contains(&batch.time_ms[at])
                && self.compiled.holds(self.compiled.main.as_ref(), &moment);
            if fits {
                self.matching += 1;
                self.keep(batch, texts, visit, at);
            }
        }
    }

    fn keep(&mut self, batch: &Batch, texts: &Texts, visit: &Visit<'_>, at: usize) {
        let (time_ms, id) = (batch.time_ms[at], batch.id[at]);
        let full = self.latest.len() >= self.limit;
        let earliest = self
            .latest
            .peek()
            .map(|found| (found.0.time_ms, found.0.id));
        if full && earliest.is_none_or(|earliest| earliest > (time_ms, id)) {
            return;
        }
        let opening = visit.events.first().copied().unwrap_or(at);
        let mut told = self.told.iter().enumerate();
        let text = |(number, column): (usize, &usize)| {
            // From the fourth on they are of the visit.
            let of = if number < 3 { at } else { opening };
            texts.get(batch.texts[*column][of]).to_owned()
        };
        self.latest.push(Reverse(Found {
            time_ms,
            id,
            texts: std::array::from_fn(|_| told.next().map(text).unwrap_or_default()),
            money: batch.order_value[at].map(|value| Money {
                minor: value.minor,
                currency: value.currency,
            }),
        }));
        if full {
            self.latest.pop();
        }
    }

    /// The latest events first, and how many there are in all.
    pub fn finish(self) -> (Vec<SampledEvent>, u64) {
        let zone = self.time.zone;
        let events = self.latest.into_sorted_vec().into_iter();
        let events = events.map(|Reverse(found)| {
            let [name, page, hostname, source, country, device, browser] = found.texts;
            SampledEvent {
                time: range::iso_instant(&zone, found.time_ms),
                name,
                page,
                hostname,
                source,
                country,
                device,
                browser,
                order: found.money.map(Value::from),
            }
        });
        (events.collect(), self.matching)
    }
}
