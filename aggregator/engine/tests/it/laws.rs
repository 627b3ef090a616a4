//! What holds for any history.

use crate::{
    Rows,
    history::{any_rules, history, marathon},
    model::{Model, window},
    run,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use wakeline_engine::{Dimension, Event, Grain, Id, Row, SiteRules, window::distance};

/// The same events otherwise: shuffled, some of them again, in other groups.
fn otherwise(events: Vec<Event>) -> impl Strategy<Value = (Vec<Event>, Vec<Event>, Vec<usize>)> {
    let again = prop::collection::vec(any::<bool>(), events.len());
    again.prop_flat_map(move |again| {
        let copies = events.iter().zip(again).filter_map(|(event, again)| {
            (again && !matches!(event.id, Id::Position { .. })).then_some(*event)
        });
        let shuffled: Vec<Event> = events.iter().copied().chain(copies).collect();
        (
            Just(events.clone()),
            Just(shuffled).prop_shuffle(),
            prop::collection::vec(1..12_usize, 1..5),
        )
    })
}

fn any_history(rules: &SiteRules) -> impl Strategy<Value = Vec<Event>> + use<> {
    prop_oneof![4 => history(rules.gap_ms), 1 => marathon(rules.gap_ms)]
}

proptest! {
    #[test]
    fn order_grouping_and_repetition_do_not_matter(
        (rules, (events, shuffled, sizes)) in any_rules().prop_flat_map(|rules| {
            let events = any_history(&rules);
            (Just(rules), events.prop_flat_map(otherwise))
        })
    ) {
        let mut sorted = events;
        sorted.sort_by_key(|event| event.time_ms);
        let at_once = run(&rules, &sorted, &[]);
        let piecemeal = run(&rules, &shuffled, &sizes);
        prop_assert_eq!(at_once.0, piecemeal.0);
        prop_assert_eq!(at_once.1, piecemeal.1);
    }

    #[test]
    fn rows_agree_with_counting_by_hand(
        (rules, visitors) in any_rules().prop_flat_map(|rules| {
            let visitors = prop::collection::vec(any_history(&rules), 1..4);
            (Just(rules), visitors)
        }),
        ranges in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 20),
    ) {
        let (mut model, mut rows) = (Model::default(), Rows::new());
        for (visitor, events) in visitors.into_iter().enumerate() {
            model.count(visitor, &rules, &events);
            for (key, row) in run(&rules, &events, &[7, 2, 19]).1 {
                rows.entry(key).or_default().add(&row);
            }
        }
        rows.retain(|_, row| !row.is_zero());

        for (&(grain, dimension, value), presence) in &model.presence {
            let windows: Vec<i64> = presence.iter().map(|(_, window)| *window).collect();
            for (a, b) in &ranges {
                let (a, b) = (*a.get(&windows), *b.get(&windows));
                // Also windows in which nobody was.
                let first = match grain {
                    Grain::Hour => window(&rules, grain, (a.min(b) - 150) * 60_000),
                    Grain::Minute | Grain::Day => a.min(b) - 3,
                };
                let last = a.max(b);
                if reaches_too_far(&rules, grain, first, last) {
                    continue;
                }
                let expected: BTreeSet<usize> = presence
                    .iter()
                    .filter(|(_, window)| (first..=last).contains(window))
                    .map(|(visitor, _)| *visitor)
                    .collect();
                let visitors: i64 = rows
                    .iter()
                    .filter(|(key, _)| (key.grain, key.dimension, key.value) == (grain, dimension, value))
                    .filter(|(key, _)| (first..=last).contains(&key.window))
                    .map(|(key, row)| row.visitors_since(distance(&rules.timezone, grain, first, key.window)))
                    .sum();
                prop_assert_eq!(visitors, expected.len() as i64, "{:?} {}..={}", grain, first, last);
            }
        }

        for row in rows.values_mut() {
            row.visitors_by_gap.clear();
        }
        rows.retain(|_, row| !row.is_zero());
        prop_assert_eq!(rows, model.rows);
    }

    #[test]
    fn the_values_of_a_property_of_visits_add_up_to_the_site(
        (rules, events) in any_rules().prop_flat_map(|rules| {
            let events = any_history(&rules);
            (Just(rules), events)
        })
    ) {
        let mut sums: BTreeMap<Dimension, Row> = BTreeMap::new();
        for (key, row) in run(&rules, &events, &[5]).1 {
            if key.grain == Grain::Day {
                let sum = sums.entry(key.dimension).or_default();
                sum.add(&Row { visitors_by_gap: Vec::new(), ..row });
            }
        }
        let total = &sums[&Dimension::Total];
        for dimension in Dimension::ALL {
            if !matches!(dimension, Dimension::Page | Dimension::EventName | Dimension::Fate) {
                prop_assert_eq!(sums.get(&dimension), Some(total), "{:?}", dimension);
            }
        }
    }

    #[test]
    fn a_window_counts_each_visitor_once(
        (rules, events) in any_rules().prop_flat_map(|rules| {
            let events = any_history(&rules);
            (Just(rules), events)
        })
    ) {
        let mut model = Model::default();
        model.count(0, &rules, &events);
        let (_, rows) = run(&rules, &events, &[3]);
        for (key, row) in rows {
            let presence = model.presence.get(&(key.grain, key.dimension, key.value));
            let was_there = presence.is_some_and(|presence| presence.contains(&(0, key.window)));
            prop_assert_eq!(row.visitors(), i64::from(was_there));
            prop_assert!(row.visitors_by_gap.len() <= 1, "{:?}", row.visitors_by_gap);
        }
    }

    #[test]
    fn rows_are_read_back(
        figures in any::<[i64; 7]>(),
        revenue in prop::collection::btree_map(any::<[u8; 3]>(), 1..i64::MAX, 0..4),
        gaps in prop::collection::btree_map(any::<u32>(), 1..i64::MAX, 0..20),
    ) {
        let [pageviews, events, visits, bounces, duration_ms, engagement_ms, orders] = figures;
        let row = Row {
            pageviews, events, visits, bounces, duration_ms, engagement_ms, orders,
            revenue: revenue.into_iter().collect(),
            visitors_by_gap: gaps.into_iter().collect(),
        };
        let mut bytes = Vec::new();
        row.encode(&mut bytes);
        prop_assert_eq!(Row::decode(&bytes), Ok(row));
    }
}

/// Whether uniques of such a range can't be told from its rows.
fn reaches_too_far(rules: &SiteRules, grain: Grain, first: i64, last: i64) -> bool {
    let windows = distance(&rules.timezone, grain, first, last);
    match grain {
        Grain::Minute => windows >= 1440,
        Grain::Hour => windows >= 960,
        Grain::Day => false,
    }
}
