//! The answer by brute force: events are sorted and cut into visits, and every row asks all of them.
//!
//! It reads questions as JSON by itself, and knows nothing of planner and scan.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde_json::{Value, json};
use wakeline_engine::Kind;

use crate::history::{Event, History};

/// Goals beside the names of events: a name and a filter.
pub(crate) type Goals = [(&'static str, Value)];

/// A visit, or a session of passive events.
struct Visit<'a> {
    events: Vec<&'a Event>,
}

impl<'a> Visit<'a> {
    fn counted(&self) -> impl Iterator<Item = &'a Event> + '_ {
        let events = self.events.iter().copied();
        events.filter(|event| event.kind != Kind::Engagement)
    }

    fn views(&self) -> Vec<&'a Event> {
        self.counted()
            .filter(|event| event.kind == Kind::Pageview)
            .collect()
    }

    fn interactive(&self) -> bool {
        self.events
            .iter()
            .any(|event| event.kind == Kind::Interactive)
    }

    fn is_visit(&self) -> bool {
        !self.views().is_empty() || self.interactive()
    }

    /// First and last view with a page.
    fn ends(&self) -> (Option<&'a Event>, Option<&'a Event>) {
        let views: Vec<_> = self
            .views()
            .into_iter()
            .filter(|view| !view.page.is_empty())
            .collect();
        (views.first().copied(), views.last().copied())
    }
}

/// What is asked of one event.
#[derive(Clone, Copy)]
struct Moment<'a> {
    event: &'a Event,
    visit: &'a Visit<'a>,
    /// Pages are those that visits began on.
    by_entry: bool,
}

pub(crate) struct Model<'a> {
    zone: TimeZone,
    visits: Vec<Visit<'a>>,
    goals: &'a Goals,
    history: &'a History,
}

impl<'a> Model<'a> {
    pub(crate) fn of(history: &'a History, goals: &'a Goals) -> Self {
        let zone = history.timezone();
        let mut visits = Vec::new();
        let visitors: BTreeSet<usize> = history.events.iter().map(|event| event.visitor).collect();
        for visitor in visitors {
            let mut events: Vec<&Event> = history
                .events
                .iter()
                .filter(|event| event.visitor == visitor)
                .collect();
            events.sort_by_key(|event| (event.time_ms, event.id()));
            let mut sessions: Vec<Vec<&Event>> = Vec::new();
            for event in events {
                match sessions.last_mut() {
                    Some(session)
                        if event.time_ms - session[session.len() - 1].time_ms <= history.gap_ms =>
                    {
                        session.push(event);
                    }
                    _ => sessions.push(vec![event]),
                }
            }
            for session in sessions {
                let days: BTreeSet<Date> = session
                    .iter()
                    .map(|event| date(&zone, event.time_ms))
                    .collect();
                if days.len() > 3 {
                    for day in days {
                        let events = session
                            .iter()
                            .copied()
                            .filter(|event| date(&zone, event.time_ms) == day);
                        visits.push(Visit {
                            events: events.collect(),
                        });
                    }
                } else {
                    visits.push(Visit { events: session });
                }
            }
        }
        Self {
            zone,
            visits,
            goals,
            history,
        }
    }

    #[allow(clippy::too_many_lines, reason = "brute force is told in one go")]
    /// The results of a question, in no order: dimensions and metrics of each row.
    pub(crate) fn results(&self, question: &Value) -> BTreeMap<Vec<String>, Vec<Value>> {
        let filters = json!(["and", question["filters"]]);
        let dimensions = texts(&question["dimensions"]);
        let (start, end) = self.range(&question["date_range"]);
        let within = |ms: i64| (start..end).contains(&ms);
        let exits = dimensions.iter().any(|by| by.contains("exit"))
            || question["filters"].to_string().contains("exit");
        let anchor = |visit: &Visit<'_>| {
            let event = if exits {
                visit.events.last()
            } else {
                visit.events.first()
            };
            event.map_or(i64::MIN, |event| event.time_ms)
        };
        let base_filters: Vec<Value> = flat(&filters)
            .into_iter()
            .filter(|filter| {
                let text = filter.to_string();
                filter[0].as_str().unwrap().starts_with("has_")
                    || !(text.contains("event:goal") || text.contains("event:props"))
            })
            .collect();
        let base_filters = json!(["and", base_filters]);
        let base_dimensions: Vec<String> = dimensions
            .iter()
            .filter(|by| *by != "event:goal" && !by.starts_with("event:props"))
            .cloned()
            .collect();

        let mut rows: BTreeMap<Vec<String>, Row> = BTreeMap::new();
        let mut all = BTreeSet::new();
        let mut base = BTreeSet::new();
        let mut base_rows: BTreeMap<Vec<String>, BTreeSet<usize>> = BTreeMap::new();
        for (number, visit) in self.visits.iter().enumerate() {
            for &event in &visit.events {
                let moment = Moment {
                    event,
                    visit,
                    by_entry: false,
                };
                let counts = event.kind != Kind::Engagement;
                if counts && within(event.time_ms) && self.holds(&base_filters, moment) {
                    base.insert(event.visitor);
                    for key in self.keys(
                        &base_dimensions,
                        &filters,
                        moment,
                        event.time_ms,
                        (start, end),
                    ) {
                        base_rows.entry(key).or_default().insert(event.visitor);
                    }
                }
                if !self.holds(&filters, moment) {
                    continue;
                }
                if within(event.time_ms) {
                    if counts {
                        all.insert(event.visitor);
                    }
                    for key in self.keys(&dimensions, &filters, moment, event.time_ms, (start, end))
                    {
                        rows.entry(key)
                            .or_default()
                            .add_event(event, number, visit.is_visit());
                    }
                }
                if counts && visit.is_visit() && within(anchor(visit)) {
                    for key in self.keys(&dimensions, &filters, moment, anchor(visit), (start, end))
                    {
                        rows.entry(key).or_default().visits.insert(number);
                    }
                }
            }
            // Figures of visits: of those with an event that fits, pages being those they began on.
            let moments = visit.counted().map(|event| Moment {
                event,
                visit,
                by_entry: true,
            });
            if let Some(moment) = moments
                .into_iter()
                .find(|moment| self.holds(&filters, *moment))
            {
                let keys = |ms: i64| self.keys(&dimensions, &filters, moment, ms, (start, end));
                if visit.is_visit() && within(anchor(visit)) {
                    for key in keys(anchor(visit)) {
                        rows.entry(key).or_default().figures_of.push(number);
                    }
                }
                for view in visit.views() {
                    if within(view.time_ms) {
                        for key in keys(view.time_ms) {
                            rows.entry(key).or_default().views_of_visits += 1;
                        }
                    }
                }
            }
        }
        if dimensions.is_empty() {
            rows.entry(Vec::new()).or_default();
        } else {
            let metrics = texts(&question["metrics"]);
            let engaged = metrics
                .iter()
                .any(|metric| metric == "time_on_page" || metric == "scroll_depth");
            rows.retain(|_, row| {
                let attentive = row.attention.keys().len() + row.scroll.len() > 0;
                !row.visitors.is_empty() || !row.visits.is_empty() || (engaged && attentive)
            });
        }
        let currency = currency(rows.values());
        let totals = (all.len(), base.len());
        let results = rows.iter().map(|(key, row)| {
            let kept: Vec<String> = dimensions
                .iter()
                .zip(key)
                .filter(|(by, _)| base_dimensions.contains(by))
                .map(|(_, value)| value.clone())
                .collect();
            let base_of_row = base_rows.get(&kept).map_or(0, BTreeSet::len);
            let values = texts(&question["metrics"]).into_iter().map(|metric| {
                self.metric(
                    &metric,
                    row,
                    currency,
                    totals,
                    base_of_row,
                    (key, &dimensions, start),
                )
            });
            (key.clone(), values.collect())
        });
        results.collect()
    }

    fn metric(
        &self,
        metric: &str,
        row: &Row,
        currency: [u8; 3],
        (all, base): (usize, usize),
        base_of_row: usize,
        (key, dimensions, start): (&[String], &[String], i64),
    ) -> Value {
        let rounded = |amount: i64, count: i64| {
            if count == 0 {
                0
            } else {
                (2 * amount + count).div_euclid(2 * count)
            }
        };
        let visits = row.figures_of.len() as i64;
        let share =
            |of: usize| json!(rounded(row.visitors.len() as i64 * 1000, of as i64) as f64 / 10.0);
        let bounce = |visit: &Visit<'_>| visit.views().len() == 1 && !visit.interactive();
        let of_row = || row.figures_of.iter().map(|number| &self.visits[*number]);
        let money = |minor: i64| {
            let code = String::from_utf8(currency.to_vec()).unwrap();
            json!({"value": minor as f64 / 100.0, "currency": code})
        };
        let mean = |values: &BTreeMap<usize, i64>, unit: i64| {
            if values.is_empty() {
                Value::Null
            } else {
                json!(rounded(values.values().sum(), values.len() as i64 * unit))
            }
        };
        match metric {
            "visitors" => json!(row.visitors.len()),
            "visits" => json!(row.visits.len()),
            "pageviews" => json!(row.pageviews),
            "events" => json!(row.events),
            "views_per_visit" => json!(rounded(row.views_of_visits * 100, visits) as f64 / 100.0),
            "bounce_rate" => json!(rounded(
                of_row().filter(|visit| bounce(visit)).count() as i64 * 100,
                visits
            )),
            "visit_duration" => {
                let durations = of_row().filter(|visit| !bounce(visit));
                let total: i64 = durations
                    .map(|visit| {
                        visit.events[visit.events.len() - 1].time_ms - visit.events[0].time_ms
                    })
                    .sum();
                json!(rounded(total, visits * 1000))
            }
            "new_visitors" | "returning_visitors" => {
                // The day on which the bucket of the row begins.
                let time = dimensions.iter().position(|by| by.starts_with("time"));
                let day = match time {
                    None => date(&self.zone, start),
                    Some(at) => {
                        let label: Date = key[at][..10].parse().unwrap();
                        label.max(date(&self.zone, start))
                    }
                };
                let is_new = |visitor: &&usize| {
                    let theirs = self.history.events.iter().filter(|event| {
                        event.visitor == **visitor && event.kind != Kind::Engagement
                    });
                    theirs
                        .map(|event| date(&self.zone, event.time_ms))
                        .min()
                        .is_some_and(|first| first >= day)
                };
                let new = row.visitors.iter().filter(is_new).count();
                json!(if metric == "new_visitors" {
                    new
                } else {
                    row.visitors.len() - new
                })
            }
            "orders" => json!(row.orders.len()),
            "total_revenue" => money(
                row.orders
                    .iter()
                    .filter(|(of, _)| *of == currency)
                    .map(|(_, minor)| minor)
                    .sum(),
            ),
            "average_revenue" => {
                let mixed = row.net().keys().any(|of| *of != currency);
                if row.orders.is_empty() || mixed {
                    Value::Null
                } else {
                    money(rounded(
                        row.net().get(&currency).copied().unwrap_or(0),
                        row.orders.len() as i64,
                    ))
                }
            }
            "percentage" => share(all),
            "conversion_rate" => share(base),
            "group_conversion_rate" => share(base_of_row),
            "time_on_page" => mean(&row.attention, 1000),
            "scroll_depth" => mean(&row.scroll, 1),
            other => unreachable!("{other}"),
        }
    }

    fn range(&self, range: &Value) -> (i64, i64) {
        let ends = texts(range);
        let midnight = |date: Date| {
            date.to_zoned(self.zone.clone())
                .unwrap()
                .timestamp()
                .as_millisecond()
        };
        if let (Ok(first), Ok(last)) = (ends[0].parse::<Date>(), ends[1].parse::<Date>())
            && ends[0].len() == 10
        {
            return (midnight(first), midnight(last.tomorrow().unwrap()));
        }
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        (at(&ends[0]), at(&ends[1]))
    }

    fn keys(
        &self,
        dimensions: &[String],
        filters: &Value,
        moment: Moment<'_>,
        ms: i64,
        (start, end): (i64, i64),
    ) -> Vec<Vec<String>> {
        let mut keys = vec![Vec::new()];
        for by in dimensions {
            let values = if let Some(step) = by.strip_prefix("time") {
                let step = match step {
                    "" if end - start <= 48 * 3_600_000 => ":hour",
                    "" => ":day",
                    step => step,
                };
                vec![self.label(step, ms, start)]
            } else if by == "event:goal" {
                let reached = self.goals_of(moment);
                let top = flat(filters);
                let of_goals = top.iter().filter(|filter| filter[1] == "event:goal");
                reached
                    .into_iter()
                    .filter(|goal| of_goals.clone().all(|filter| fits(filter, goal)))
                    .collect()
            } else {
                let value = Self::value(by, moment);
                let missing = matches!(by.as_str(), "event:page" | "event:name")
                    && value == "(not set)"
                    && !moment.by_entry;
                if missing { vec![] } else { vec![value] }
            };
            keys = keys
                .into_iter()
                .flat_map(|key: Vec<String>| {
                    values
                        .iter()
                        .map(move |value| [key.clone(), vec![value.clone()]].concat())
                })
                .collect();
        }
        keys
    }

    fn label(&self, step: &str, ms: i64, start: i64) -> String {
        let local = Timestamp::from_millisecond(ms)
            .unwrap()
            .to_zoned(self.zone.clone());
        let date = local.date();
        match step {
            ":hour" => format!("{date} {:02}:00:00", local.hour()),
            ":day" => date.to_string(),
            ":week" => {
                let monday = date
                    .checked_sub(jiff::ToSpan::days(i64::from(
                        date.weekday().to_monday_zero_offset(),
                    )))
                    .unwrap();
                monday.max(self::date(&self.zone, start)).to_string()
            }
            ":month" => date.first_of_month().to_string(),
            other => unreachable!("{other}"),
        }
    }

    fn goals_of(&self, moment: Moment<'_>) -> Vec<String> {
        if moment.event.kind == Kind::Engagement {
            return Vec::new();
        }
        let moment = Moment {
            by_entry: false,
            ..moment
        };
        let reached = self
            .goals
            .iter()
            .filter(|(_, rule)| self.holds(rule, moment));
        let mut reached: Vec<String> = reached.map(|(name, _)| (*name).to_owned()).collect();
        if !self
            .goals
            .iter()
            .any(|(name, _)| *name == moment.event.name)
        {
            reached.push(moment.event.name.to_owned());
        }
        reached
    }

    fn holds(&self, filter: &Value, moment: Moment<'_>) -> bool {
        let operator = filter[0].as_str().unwrap();
        let list = || filter[1].as_array().unwrap().iter();
        match operator {
            "and" => list().all(|filter| self.holds(filter, moment)),
            "or" => list().any(|filter| self.holds(filter, moment)),
            "not" => !self.holds(&filter[1], moment),
            "has_done" | "has_not_done" => {
                let done = moment.visit.counted().any(|event| {
                    self.holds(
                        &filter[1],
                        Moment {
                            event,
                            by_entry: false,
                            ..moment
                        },
                    )
                });
                done == (operator == "has_done")
            }
            _ if filter[1] == "event:goal" => {
                self.goals_of(moment).iter().any(|goal| fits(filter, goal))
            }
            _ => fits(filter, &Self::value(filter[1].as_str().unwrap(), moment)),
        }
    }

    /// What answers call the value of a dimension.
    fn value(by: &str, moment: Moment<'_>) -> String {
        let (visit, event) = (moment.visit, moment.event);
        let (entry, exit) = visit.ends();
        let first = visit.events[0];
        let by = match by {
            "event:page" if moment.by_entry => "visit:entry_page",
            "event:hostname" if moment.by_entry => "visit:entry_page_hostname",
            by => by,
        };
        let value = match by {
            "event:page" => event.page.to_owned(),
            "event:name" => event.name.to_owned(),
            "event:hostname" => event.hostname.to_owned(),
            "event:props:plan" => event.plan.to_owned(),
            "visit:entry_page" => entry.map_or("", |view| view.page).to_owned(),
            "visit:exit_page" => exit.map_or("", |view| view.page).to_owned(),
            "visit:entry_page_hostname" => entry.map_or("", |view| view.hostname).to_owned(),
            "visit:source" => first.source.to_owned(),
            "visit:utm_campaign" => first.campaign.to_owned(),
            "visit:browser_version" => first.version.to_owned(),
            "visit:device" => ["", "Desktop", "Mobile"][usize::from(first.device)].to_owned(),
            "visit:channel" => ["Direct", "Email", "Paid"][usize::from(first.channel)].to_owned(),
            "visit:country" => first.country.to_owned(),
            other => unreachable!("{other}"),
        };
        match (value.as_str(), by) {
            ("", "visit:source") => "Direct / None".to_owned(),
            ("", "event:props:plan") => "(none)".to_owned(),
            ("", _) => "(not set)".to_owned(),
            _ => value,
        }
    }
}

/// What a row is made of.
#[derive(Default)]
struct Row {
    visitors: BTreeSet<usize>,
    visits: BTreeSet<usize>,
    pageviews: i64,
    events: i64,
    orders: Vec<([u8; 3], i64)>,
    figures_of: Vec<usize>,
    views_of_visits: i64,
    attention: BTreeMap<usize, i64>,
    scroll: BTreeMap<usize, i64>,
}

impl Row {
    fn add_event(&mut self, event: &Event, visit: usize, is_visit: bool) {
        if event.kind != Kind::Engagement {
            self.visitors.insert(event.visitor);
            self.events += 1;
            self.pageviews += i64::from(event.kind == Kind::Pageview);
            self.orders
                .extend(event.order.map(|order| (order.currency, order.minor)));
        } else if is_visit {
            if event.engagement_ms > 0 {
                *self.attention.entry(visit).or_default() += i64::from(event.engagement_ms);
            }
            if event.scroll <= 100 {
                let deepest = self.scroll.entry(visit).or_default();
                *deepest = (*deepest).max(event.scroll.into());
            }
        }
    }

    fn net(&self) -> BTreeMap<[u8; 3], i64> {
        let mut net = BTreeMap::new();
        for (currency, minor) in &self.orders {
            *net.entry(*currency).or_default() += minor;
        }
        net.retain(|_, minor| *minor != 0);
        net
    }
}

/// The one that all orders are in, else that of the site.
fn currency<'a>(rows: impl Iterator<Item = &'a Row>) -> [u8; 3] {
    let all: BTreeSet<[u8; 3]> = rows.flat_map(|row| row.net().into_keys()).collect();
    match all.first() {
        Some(only) if all.len() == 1 => *only,
        _ => *b"EUR",
    }
}

/// Whether a value fits a condition on it.
fn fits(filter: &Value, value: &str) -> bool {
    let operator = filter[0].as_str().unwrap();
    let ignore_case = filter[3]["case_sensitive"] == json!(false);
    let fold = |text: &str| {
        if ignore_case {
            text.to_lowercase()
        } else {
            text.to_owned()
        }
    };
    let any = texts(&filter[2])
        .iter()
        .any(|wanted| match operator.trim_end_matches("_not") {
            "is" => fold(value) == fold(wanted),
            "contains" => fold(value).contains(&fold(wanted)),
            _ => regex::RegexBuilder::new(wanted)
                .case_insensitive(ignore_case)
                .build()
                .unwrap()
                .is_match(value),
        });
    any != operator.ends_with("_not")
}

/// The conditions that must all hold.
fn flat(filter: &Value) -> Vec<Value> {
    if filter[0] == "and" {
        filter[1]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(flat)
            .collect()
    } else {
        vec![filter.clone()]
    }
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

fn date(zone: &TimeZone, ms: i64) -> Date {
    Timestamp::from_millisecond(ms)
        .unwrap()
        .to_zoned(zone.clone())
        .date()
}
