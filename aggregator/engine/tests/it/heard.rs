//! Numbers that clients gave and that never came.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use wakeline_engine::{
    Changes, Dimension, Grain, LOST_BY_CLIENT, Number, RowKey, Visitor, text_id,
};

use crate::{Rows, add_to};

const HOUR_MS: i64 = 3_600_000;

fn number(stream: u64, seq: u64, hour: i64) -> Number {
    Number {
        stream,
        seq,
        received_ms: hour * HOUR_MS + 5,
        before: None,
    }
}

/// Lets a visitor hear numbers in calls of that size, with the record written and read in between.
fn hear(numbers: &[Number], size: usize) -> (Vec<u8>, Rows) {
    let (mut bytes, mut rows, mut missing) = (Vec::new(), Rows::new(), 0);
    Visitor::default().encode(&mut bytes);
    for some in numbers.chunks(size) {
        let mut visitor = Visitor::decode(&bytes).unwrap();
        let mut changes = Changes::default();
        let more = visitor.hear(some, &mut changes);
        add_to(&mut rows, changes);
        let before = std::mem::take(&mut bytes);
        visitor.encode(&mut bytes);
        assert_eq!(more.is_some(), before != bytes);
        missing += more.unwrap_or(0);
        assert_eq!(Visitor::decode(&bytes), Ok(visitor));
    }
    assert_eq!(missing, rows.values().map(|row| row.events).sum::<i64>());
    (bytes, rows)
}

/// What is lost, by the hour since 1970.
fn lost(numbers: &[Number]) -> Vec<(i64, i64)> {
    let (_, rows) = hear(numbers, 1);
    let found = rows.into_iter().map(|(key, row)| {
        assert_eq!((key.grain, key.dimension), (Grain::Hour, Dimension::Fate));
        assert_eq!(key.value, text_id(LOST_BY_CLIENT));
        (key.window / 60, row.events)
    });
    found.collect()
}

#[test]
fn a_number_beyond_all_does_not_spoil_the_sum() {
    let beyond = |stream| Number {
        before: Some((stream, u64::MAX)),
        ..number(stream + 10, 0, 7)
    };
    let numbers = [number(1, 0, 7), number(2, 0, 7), beyond(1), beyond(2)];
    assert_eq!(lost(&numbers), [(7, 1 << 33)]);
}

#[test]
fn what_is_missing_below_the_last_number_is_lost_in_the_hour_in_which_the_last_one_came() {
    let mut numbers = vec![number(1, 3, 10), number(1, 0, 11), number(2, 0, 11)];
    assert_eq!(lost(&numbers), [(11, 2)]);
    numbers.push(number(1, 1, 14));
    assert_eq!(lost(&numbers), [(14, 1)]);
    numbers.push(number(1, 2, 12));
    assert_eq!(lost(&numbers), []);
}

#[test]
fn the_next_page_tells_what_the_last_number_was() {
    let next = Number {
        before: Some((1, 4)),
        ..number(2, 0, 12)
    };
    assert_eq!(lost(&[number(1, 0, 10), next]), [(10, 4)]);
    assert_eq!(lost(&[next, number(1, 4, 10)]), [(10, 4)]);
    // Of one of which nothing came nobody knows whose it was.
    assert_eq!(lost(&[next]), []);
}

#[test]
fn numbers_that_were_given_before_the_visitor_was_another_one_are_not_missed() {
    let since = |seq| Number {
        before: Some((1, 4)),
        ..number(1, seq, 10)
    };
    assert_eq!(lost(&[since(5), since(6)]), []);
    assert_eq!(lost(&[since(8), since(5)]), [(10, 2)]);
}

#[test]
fn any_number_is_taken_and_none_overflows() {
    let all = Number {
        before: Some((1, u64::MAX)),
        received_ms: i64::MAX,
        ..number(1, u64::MAX, 0)
    };
    assert_eq!(lost(&[all]), []);
    let (_, rows) = hear(&[number(1, u64::MAX, -7)], 1);
    assert_eq!(rows.into_values().next().unwrap().events, 1 << 32);
}

fn any_number() -> impl Strategy<Value = Number> {
    let before = prop::option::weighted(0.3, (0..4_u64, 0..12_u64));
    (0..4_u64, 0..12_u64, 1..30_i64, before).prop_map(|(stream, seq, hour, before)| Number {
        before,
        ..number(stream, seq, hour)
    })
}

proptest! {
    #[test]
    fn order_grouping_and_repetition_do_not_matter_and_a_naive_count_agrees(
        numbers in prop::collection::vec(any_number(), 0..60),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        size in 1..9_usize,
        salt in any::<u64>(),
    ) {
        let (bytes, rows) = hear(&numbers, 60);
        let mut others = numbers.clone();
        if !numbers.is_empty() {
            others.extend(again.iter().map(|at| *at.get(&numbers)));
        }
        others.sort_by_key(|at| text_id(&format!("{at:?}{salt}")));
        prop_assert_eq!(hear(&others, size), (bytes, rows.clone()));

        let mut expected: BTreeMap<i64, i64> = BTreeMap::new();
        for stream in 0..4 {
            let of = |at: &&Number| at.stream == stream;
            let Some(hour) = numbers.iter().filter(of).map(|at| at.received_ms / HOUR_MS).max() else {
                continue;
            };
            let came: BTreeSet<u64> = numbers.iter().filter(of).map(|at| at.seq).collect();
            let links = || numbers.iter().filter(|at| at.before.is_some_and(|link| link.0 == stream));
            let others_up_to = links().filter(of).map(|at| at.before.unwrap().1 + 1).max();
            let last = links().map(|at| at.before.unwrap().1).chain(came.iter().copied()).max();
            let lost = (others_up_to.unwrap_or(0)..=last.unwrap()).filter(|seq| !came.contains(seq));
            *expected.entry(hour * 60).or_default() += lost.count() as i64;
        }
        expected.retain(|_, lost| *lost > 0);
        let found: BTreeMap<i64, i64> = rows.iter().map(|(key, row)| (key.window, row.events)).collect();
        prop_assert_eq!(found, expected);
        for key in rows.keys() {
            prop_assert_eq!(RowKey::from_bytes(&key.to_bytes()), Some(*key));
        }
    }
}
