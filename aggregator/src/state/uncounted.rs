//! Which events of the log did not count.
//!
//! A reader of the log that is not the engine, such as the lake, has to take exactly the events that are in the figures.
//! Nearly all are, so what is kept is the exceptions: copies, and what came too late. Which they are follows from the log
//! alone, so a commit that is made again notes the same.

use std::collections::BTreeMap;

/// The events of a record that did not count.
///
/// Events are known by their place among all events of the record's block, counted from 0, groups in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncounted(Vec<u8>);

/// What stands for every event of a record.
const ALL: &[u8] = &[0];
/// What stands before the distances between the places of some.
const SOME: u8 = 1;

impl Uncounted {
    /// Of the events for which `counted` is false; `None` if there are none.
    pub fn of(counted: &[bool]) -> Option<Self> {
        let mut bytes = vec![SOME];
        let mut before = 0;
        let mut number = 0;
        for (place, _) in counted.iter().enumerate().filter(|(_, counted)| !**counted) {
            let mut distance = place - before;
            while distance >= 0x80 {
                bytes.push(distance as u8 | 0x80);
                distance >>= 7;
            }
            bytes.push(distance as u8);
            before = place;
            number += 1;
        }
        if number == counted.len() && number > 0 {
            ALL.clone_into(&mut bytes);
        }
        (number > 0).then_some(Self(bytes))
    }

    /// Whether each of a record's `events` counted.
    pub fn counted(&self, events: usize) -> Vec<bool> {
        let mut counted = vec![true; events];
        let Some((&SOME, distances)) = self.0.split_first() else {
            counted.fill(false);
            return counted;
        };
        let (mut place, mut distance, mut shift) = (0_usize, 0_usize, 0);
        for byte in distances {
            distance |= usize::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift += 7;
            if *byte < 0x80 {
                place = place.saturating_add(distance);
                if let Some(counted) = counted.get_mut(place) {
                    *counted = false;
                }
                (distance, shift) = (0, 0);
            }
        }
        counted
    }

    /// As it is stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What was stored.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// What was noted of some records of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UncountedIn {
    /// The partition's next offset.
    pub next_offset: u64,
    /// By offset; of records without an entry every event counted.
    pub records: BTreeMap<u64, Uncounted>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Uncounted;

    #[test]
    fn records_of_which_all_counted_are_not_noted_and_those_of_which_none_did_take_a_byte() {
        assert_eq!(Uncounted::of(&[]), None);
        assert_eq!(Uncounted::of(&[true; 1000]), None);
        let none = Uncounted::of(&[false; 1000]).unwrap();
        assert_eq!(none.as_bytes().len(), 1);
        assert_eq!(none.counted(1000), [false; 1000]);
    }

    proptest! {
        #[test]
        fn says_of_each_event_whether_it_counted(counted in prop::collection::vec(prop::bool::weighted(0.9), 0..2_000)) {
            let read = match Uncounted::of(&counted) {
                Some(some) => Uncounted::from_bytes(some.as_bytes().to_vec()).counted(counted.len()),
                None => vec![true; counted.len()],
            };
            prop_assert_eq!(read, counted);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(Uncounted::from_bytes(bytes).counted(10).len(), 10);
        }
    }
}
