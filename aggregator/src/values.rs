//! The values of dimensions: what they are called, and how many of a day an answer tells apart.

use std::collections::BTreeMap;

use wakeline_engine::{Dimension, Row, country};
use wakeline_proto::lists;

/// What a value of a dimension is called if no dictionary is needed for that: an entry of a closed list, a country by
/// its two letters, and "" for a visit without a value. `None`: the value is the id of a text.
pub(crate) fn closed_name(dimension: Dimension, value: u64) -> Option<String> {
    let named = |list| {
        let code = u32::try_from(value).unwrap_or(u32::MAX);
        Some(lists::name(list, code).to_owned())
    };
    match dimension {
        Dimension::Channel => named(lists::CHANNELS),
        Dimension::Device => named(lists::DEVICES),
        Dimension::Browser => named(lists::BROWSERS),
        Dimension::Os => named(lists::SYSTEMS),
        Dimension::Country => Some(country(u16::try_from(value).unwrap_or_default())),
        _ => (value == 0).then(String::new),
    }
}

/// Leaves of each day the `most` values with the most visitors (of equal ones those with the smaller id), and sums up
/// the others by day. A view only: which values stay depends on the rows alone.
pub(crate) fn cap(
    rows: BTreeMap<(i64, u64), Row>,
    most: usize,
) -> (BTreeMap<(i64, u64), Row>, BTreeMap<i64, Row>) {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    for (day, _) in rows.keys() {
        *counts.entry(*day).or_default() += 1;
    }
    counts.retain(|_, count| *count > most);
    if counts.is_empty() {
        return (rows, BTreeMap::new());
    }
    // The rank of the last value that stays, by day.
    let mut last = BTreeMap::new();
    for day in counts.into_keys() {
        let ranks = rows.range((day, 0)..=(day, u64::MAX));
        let mut ranks: Vec<_> = ranks.map(|((_, value), row)| rank(*value, row)).collect();
        let place = most.saturating_sub(1);
        let (_, at, _) = ranks.select_nth_unstable(place);
        last.insert(day, *at);
    }
    let (mut kept, mut others): (_, BTreeMap<i64, Row>) = (BTreeMap::new(), BTreeMap::new());
    for ((day, value), row) in rows {
        if last.get(&day).is_none_or(|last| rank(value, &row) <= *last) {
            kept.insert((day, value), row);
        } else {
            others.entry(day).or_default().add(&row);
        }
    }
    (kept, others)
}

/// Smaller for a value that comes earlier.
fn rank(value: u64, row: &Row) -> (std::cmp::Reverse<i64>, u64) {
    (std::cmp::Reverse(row.visitors()), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(visitors: i64) -> Row {
        Row {
            events: 1,
            visitors_by_gap: vec![(0, visitors)],
            ..Row::default()
        }
    }

    #[test]
    fn each_days_largest_values_stay_and_the_others_are_summed_up() {
        let rows: BTreeMap<_, _> = [
            ((1, 7), row(5)),
            ((1, 8), row(2)),
            ((1, 9), row(2)),
            ((1, 10), row(9)),
            ((2, 8), row(1)),
        ]
        .into();
        let (kept, others) = cap(rows.clone(), 3);
        let left: Vec<_> = kept.keys().copied().collect();
        assert_eq!(left, [(1, 7), (1, 8), (1, 10), (2, 8)]);
        assert_eq!(others, [(1, row(2))].into());
        assert_eq!(cap(rows.clone(), 4), (rows.clone(), BTreeMap::new()));
        let (kept, others) = cap(rows, 1);
        assert_eq!(kept.len(), 2);
        assert_eq!((others[&1].events, others[&1].visitors()), (3, 9));
    }

    #[test]
    fn codes_are_called_as_their_lists_say_and_texts_are_not_known_here() {
        let name = |dimension, value| closed_name(dimension, value);
        assert_eq!(name(Dimension::Channel, 0).as_deref(), Some("Direct"));
        assert_eq!(name(Dimension::Device, 1).as_deref(), Some("Desktop"));
        assert_eq!(name(Dimension::Os, 0).as_deref(), Some(""));
        assert_eq!(
            name(Dimension::Browser, 1 << 40).as_deref(),
            Some("(other)")
        );
        let germany = u64::from(wakeline_engine::country_code("DE"));
        assert_eq!(name(Dimension::Country, germany).as_deref(), Some("DE"));
        assert_eq!(name(Dimension::Source, 0).as_deref(), Some(""));
        assert_eq!(name(Dimension::Source, 1), None);
    }
}
