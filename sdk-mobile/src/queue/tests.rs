//! The queue on a disk that fails, forgets and is damaged, against a model that is a set.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use proptest::prelude::*;
use wakeline_client::v1::EventType;
use wakeline_client::{DropReason, Event, EventId, Person, Stored};

use super::{Files, Found, Limits, Place, Queue, Record, Window};
use crate::clock::Moment;

const NOW: Moment = Moment {
    mono_ms: 1_000_000,
    wall_ms: 1_790_000_000_000,
    boot: 1,
};
const LIMITS: Limits = Limits {
    bytes: 64 << 20,
    memory_bytes: 64 << 20,
    age_ms: 1_000_000,
};
const WINDOW: Window = Window {
    events: 1_000,
    bytes: 1 << 20,
};

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fault {
    #[default]
    None,
    /// Nothing can be made or written: full, read-only, gone.
    Write,
    /// A part is written, then an error comes.
    TornWrite,
    /// What was written can't be made durable.
    Sync,
}

#[derive(Debug, Default)]
struct State {
    segments: BTreeMap<u64, Vec<u8>>,
    durable: BTreeMap<u64, usize>,
    current: u64,
    fault: Fault,
}

/// A disk that the test holds, too.
#[derive(Clone, Debug, Default)]
struct Disk(Rc<RefCell<State>>);

impl Disk {
    fn set_fault(&self, fault: Fault) {
        self.0.borrow_mut().fault = fault;
    }

    /// What was not made durable is lost, but for a part of it.
    fn lose_power(&self, kept: usize) {
        let state = &mut *self.0.borrow_mut();
        for (number, bytes) in &mut state.segments {
            let durable = state.durable.get(number).copied().unwrap_or(0);
            bytes.truncate(durable + kept.min(bytes.len() - durable));
        }
    }

    fn damage(&self, at: usize) {
        let state = &mut *self.0.borrow_mut();
        let mut bytes: Vec<&mut u8> = state.segments.values_mut().flatten().collect();
        let count = bytes.len();
        if let Some(byte) = bytes.get_mut(at % count.max(1)) {
            **byte ^= 0x10;
        }
    }
}

impl Files for Disk {
    fn list(&mut self) -> io::Result<Vec<u64>> {
        Ok(self.0.borrow().segments.keys().copied().collect())
    }

    fn read(&self, segment: u64) -> io::Result<Vec<u8>> {
        let state = self.0.borrow();
        let bytes = state.segments.get(&segment);
        bytes.cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn read_at(&self, segment: u64, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let bytes = self.read(segment)?;
        let part = bytes.get(at as usize..at as usize + length);
        part.map(<[u8]>::to_vec)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn create(&mut self, segment: u64) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        if state.fault == Fault::Write {
            return Err(io::ErrorKind::StorageFull.into());
        }
        assert!(!state.segments.contains_key(&segment), "made twice");
        state.segments.insert(segment, Vec::new());
        state.current = segment;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        let part = match state.fault {
            Fault::Write => 0,
            Fault::TornWrite => bytes.len() / 2,
            _ => bytes.len(),
        };
        let segment = state.segments.get_mut(&state.current);
        segment.expect("made").extend(&bytes[..part]);
        if part < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        if state.fault == Fault::Sync {
            return Err(io::Error::other("fsync"));
        }
        let length = state.segments[&state.current].len();
        state.durable.insert(state.current, length);
        Ok(())
    }

    fn sync_segment(&mut self, segment: u64) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        if state.fault == Fault::Sync {
            return Err(io::Error::other("fsync"));
        }
        let length = state.segments[&segment].len();
        state.durable.insert(segment, length);
        Ok(())
    }

    fn remove(&mut self, segment: u64) -> io::Result<()> {
        self.0.borrow_mut().segments.remove(&segment);
        Ok(())
    }

    fn close(&mut self) {}
}

fn id(seq: u64) -> EventId {
    EventId { stream: 7, seq }
}

fn record(seq: u64, order: bool, bytes: usize) -> Record {
    let kind = if order {
        EventType::Order
    } else {
        EventType::Click
    };
    let event = Event::new(kind).with("x", "y".repeat(bytes));
    let stored = Stored {
        id: id(seq),
        predecessor: None,
        event,
        page: None,
        person: Arc::new(Person::default()),
        device: Arc::default(),
    };
    Record {
        id: id(seq),
        arrival: 0,
        order,
        at: NOW,
        context: 0,
        stored: stored.to_bytes(),
    }
}

fn open(disk: &Disk) -> (Queue<Disk>, Found) {
    Queue::open(disk.clone(), LIMITS)
}

fn waiting(queue: &Queue<Disk>) -> BTreeSet<u64> {
    queue.entries.iter().map(|entry| entry.id.seq).collect()
}

fn loaded(queue: &mut Queue<Disk>) -> Vec<u64> {
    let (events, unreadable) = queue.load(0, WINDOW, NOW);
    assert_eq!(unreadable, 0);
    events.iter().map(|(stored, _)| stored.id.seq).collect()
}

#[test]
fn orders_go_first_then_the_oldest() {
    let (mut queue, _) = open(&Disk::default());
    queue.push((0..6).map(|seq| record(seq, seq % 3 == 2, 1)));
    assert_eq!(loaded(&mut queue), [2, 5, 0, 1, 3, 4]);
    assert_eq!(loaded(&mut queue), [] as [u64; 0]);
    queue.unload();
    assert_eq!(loaded(&mut queue).len(), 6);
}

#[test]
fn events_of_another_device_wait_their_turn() {
    let (mut queue, _) = open(&Disk::default());
    let mut upgraded = record(1, false, 1);
    upgraded.context = 9;
    queue.push(vec![record(0, false, 1), upgraded]);
    assert_eq!(queue.next_context(), Some(0));
    assert_eq!(loaded(&mut queue), [0]);
    queue.settle(&[id(0)]);
    assert_eq!(queue.next_context(), Some(9));
}

#[test]
fn a_full_disk_costs_durability_until_there_is_room() {
    let disk = Disk::default();
    let (mut queue, _) = open(&disk);
    queue.push(vec![record(0, false, 1)]);
    for (seq, fault) in [(1, Fault::Write), (2, Fault::TornWrite)] {
        disk.set_fault(fault);
        queue.push(vec![record(seq, false, 1)]);
        assert!(queue.error().is_some() && !queue.sync() && !queue.recover());
        disk.set_fault(Fault::None);
        assert!(queue.recover() && queue.sync() && queue.error().is_none());
        assert_eq!(waiting(&open(&disk).0), waiting(&queue));
        queue.settle(&[id(seq)]);
    }
}

#[test]
fn what_could_not_be_made_durable_is_written_again_elsewhere() {
    let disk = Disk::default();
    let (mut queue, _) = open(&disk);
    queue.push(vec![record(0, false, 1), record(1, true, 1)]);
    disk.set_fault(Fault::Sync);
    assert!(!queue.sync());
    disk.set_fault(Fault::None);
    assert!(queue.recover() && queue.sync());
    disk.lose_power(0);
    assert_eq!(waiting(&open(&disk).0), [0, 1].into());
}

#[test]
fn the_last_id_is_known_though_all_was_sent() {
    let disk = Disk::default();
    let (mut queue, found) = open(&disk);
    assert_eq!(found, Found::default());
    queue.push(vec![record(4, false, 1)]);
    queue.settle(&[id(4)]);
    for _ in 0..3 {
        let (queue, found) = open(&disk);
        assert_eq!((found.last, found.restored), (Some(id(4)), 0));
        drop(queue);
    }
}

#[test]
fn an_old_event_does_not_keep_the_files_of_all_that_came_after() {
    let disk = Disk::default();
    let (mut queue, _) = open(&disk);
    queue.push(vec![record(0, false, 1)]);
    for seq in 1..8_000 {
        queue.push(vec![record(seq, false, 100)]);
        queue.settle(&[id(seq)]);
    }
    let bytes: usize = disk.0.borrow().segments.values().map(Vec::len).sum();
    assert!(bytes < 2 << 20, "{bytes} bytes for one event");
    assert_eq!(waiting(&open(&disk).0), [0].into());
}

#[test]
fn another_queue_s_events_are_taken_over_once() {
    let (left, own) = (Disk::default(), Disk::default());
    open(&left)
        .0
        .push(vec![record(0, true, 1), record(1, false, 1)]);
    let (mut queue, _) = open(&own);
    assert_eq!(queue.take_over(left.clone()).restored, 2);
    assert_eq!(loaded(&mut queue), [0, 1]);
    assert_eq!(queue.take_over(left).restored, 0);
    assert_eq!(waiting(&open(&own).0), [0, 1].into());
}

#[test]
fn what_is_erased_does_not_come_back() {
    let disk = Disk::default();
    let (mut queue, _) = open(&disk);
    queue.push(vec![record(0, false, 1)]);
    assert_eq!(queue.clear(), 1);
    queue.push(vec![record(1, false, 1)]);
    assert_eq!(waiting(&open(&disk).0), [1].into());
}

#[test]
fn old_events_are_given_up_orders_too() {
    let (mut queue, _) = open(&Disk::default());
    queue.push(vec![record(0, false, 1), record(1, true, 1)]);
    let later = Moment {
        mono_ms: NOW.mono_ms + 1_000_000,
        ..NOW
    };
    assert!(queue.shed(later, |_| true).is_empty());
    let later = Moment {
        mono_ms: later.mono_ms + 1,
        ..NOW
    };
    let shed = queue.shed(later, |_| true);
    assert_eq!(
        shed,
        [(id(0), DropReason::QueueAge), (id(1), DropReason::QueueAge)]
    );
}

#[derive(Clone, Debug)]
enum Step {
    Push(Vec<(bool, usize)>),
    /// Of what waits, the so-manieth.
    Settle(usize),
    Load,
    Sync,
    Recover,
    Kill,
    LosePower(usize),
    Fault(Fault),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = prop_oneof![8 => 0..60_usize, 1 => 3_000..4_000_usize];
    let fault = prop_oneof![
        3 => Just(Fault::None),
        1 => Just(Fault::Write),
        1 => Just(Fault::TornWrite),
        1 => Just(Fault::Sync),
    ];
    let step = prop_oneof![
        8 => prop::collection::vec((any::<bool>(), size), 1..40).prop_map(Step::Push),
        8 => any::<usize>().prop_map(Step::Settle),
        2 => Just(Step::Load),
        3 => Just(Step::Sync),
        3 => Just(Step::Recover),
        1 => Just(Step::Kill),
        1 => (0..400_usize).prop_map(Step::LosePower),
        2 => fault.prop_map(Step::Fault),
    ];
    prop::collection::vec(step, 1..60)
}

/// What a queue promises, as sets of numbers.
#[derive(Debug, Default)]
struct Model {
    next: u64,
    waiting: BTreeSet<u64>,
    durable: BTreeSet<u64>,
    /// Settled, but whether that is on disk is not known.
    may_return: BTreeSet<u64>,
}

proptest! {
    #[test]
    fn a_queue_has_what_it_promised_whatever_becomes_of_process_and_disk(steps in steps()) {
        let disk = Disk::default();
        let (mut queue, _) = open(&disk);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Push(events) => {
                    let records = events.iter().map(|(order, bytes)| {
                        model.next += 1;
                        model.waiting.insert(model.next);
                        record(model.next, *order, *bytes)
                    });
                    queue.push(records);
                }
                Step::Settle(nth) => {
                    // A batch is some that were loaded together.
                    let from = nth % model.waiting.len().max(1);
                    let settled: Vec<u64> = model.waiting.iter().copied().skip(from).take(1 + nth % 25).collect();
                    queue.settle(&settled.iter().map(|seq| id(*seq)).collect::<Vec<_>>());
                    for seq in settled {
                        model.waiting.remove(&seq);
                        model.durable.remove(&seq);
                        model.may_return.insert(seq);
                    }
                }
                Step::Load => {
                    queue.unload();
                    let before = model.waiting.clone();
                    let (events, unreadable) = queue.load(0, WINDOW, NOW);
                    prop_assert_eq!(unreadable, 0);
                    let all: BTreeSet<u64> = events.iter().map(|(stored, _)| stored.id.seq).collect();
                    prop_assert_eq!(all.len(), events.len(), "handed out twice");
                    prop_assert!(all.is_subset(&before));
                }
                Step::Sync => {
                    if queue.sync() {
                        model.durable.clone_from(&model.waiting);
                    }
                }
                Step::Recover => {
                    queue.recover();
                }
                Step::Kill => {
                    let in_memory = |entry: &&super::Entry| matches!(entry.place, Place::Memory(_));
                    let lost: BTreeSet<u64> = queue.entries.iter().filter(in_memory).map(|entry| entry.id.seq).collect();
                    let kept = &model.waiting - &lost;
                    (queue, _) = open(&disk);
                    let found = waiting(&queue);
                    prop_assert!(kept.is_subset(&found), "lost {:?}", &kept - &found);
                    let allowed = &(&model.waiting | &model.may_return) - &BTreeSet::new();
                    prop_assert!(found.is_subset(&allowed), "came back {:?}", &found - &allowed);
                    model.waiting = found;
                }
                Step::LosePower(kept) => {
                    disk.lose_power(kept);
                    (queue, _) = open(&disk);
                    let found = waiting(&queue);
                    prop_assert!(model.durable.is_subset(&found), "lost {:?}", &model.durable - &found);
                    prop_assert!(found.is_subset(&(&model.waiting | &model.may_return)));
                    model.waiting = found;
                    model.durable.clear();
                }
                Step::Fault(fault) => disk.set_fault(fault),
            }
            prop_assert_eq!(&waiting(&queue), &model.waiting);
            let bytes: u64 = queue.entries.iter().map(|entry| u64::from(entry.length)).sum();
            prop_assert_eq!(bytes, queue.bytes);
        }
        disk.set_fault(Fault::None);
        prop_assert!(queue.recover() && queue.sync());
        disk.lose_power(0);
        let found = waiting(&open(&disk).0);
        prop_assert!(model.waiting.is_subset(&found));
    }

    #[test]
    fn without_faults_a_kill_loses_nothing_and_brings_nothing_back(
        pushed in 1..200_u64,
        settled in prop::collection::btree_set(0..200_u64, 0..100),
    ) {
        let disk = Disk::default();
        let (mut queue, _) = open(&disk);
        for seq in 0..pushed {
            queue.push(vec![record(seq, seq % 7 == 0, 2_000)]);
        }
        queue.settle(&settled.iter().map(|seq| id(*seq)).collect::<Vec<_>>());
        let expected: BTreeSet<u64> = (0..pushed).filter(|seq| !settled.contains(seq)).collect();
        let (mut again, found) = open(&disk);
        prop_assert_eq!(waiting(&again), expected.clone());
        prop_assert_eq!((found.restored, found.corrupt), (expected.len() as u64, 0));
        // In the same order as before: orders first, then by arrival.
        let order = loaded(&mut again);
        let mut naive: Vec<u64> = expected.into_iter().collect();
        naive.sort_by_key(|seq| (seq % 7 != 0, *seq));
        let within = order.len();
        prop_assert_eq!(&order[..], &naive[..within]);
    }

    #[test]
    fn damage_costs_one_event(at: usize) {
        let disk = Disk::default();
        let (mut queue, _) = open(&disk);
        for seq in 0..50 {
            queue.push(vec![record(seq, false, 20)]);
        }
        disk.damage(at);
        let (again, found) = open(&disk);
        prop_assert!(again.len() >= 49);
        prop_assert_eq!(found.corrupt, 1);
        // Of a queue that is open it is found when the event is read.
        queue.unload();
        let (events, unreadable) = queue.load(0, WINDOW, NOW);
        prop_assert_eq!(events.len() as u64 + unreadable, 50);
        prop_assert!(unreadable <= 1);
        prop_assert_eq!(queue.len(), events.len());
    }

    #[test]
    fn over_a_limit_the_oldest_go_first_and_orders_last(
        events in prop::collection::vec((any::<bool>(), 0..300_usize), 1..60),
        limit in 500..6_000_u64,
    ) {
        let limits = Limits { bytes: limit, ..LIMITS };
        let (mut queue, _) = Queue::open(Disk::default(), limits);
        let records: Vec<Record> = (0..).zip(&events).map(|(seq, (order, bytes))| record(seq, *order, *bytes)).collect();
        queue.push(records);
        let mut left: Vec<(u64, bool, u64)> =
            queue.entries.iter().map(|entry| (entry.id.seq, entry.order, u64::from(entry.length))).collect();
        let shed: Vec<u64> = queue.shed(NOW, |_| true).into_iter().map(|(id, _)| id.seq).collect();
        let mut naive = Vec::new();
        while left.iter().map(|(_, _, bytes)| bytes).sum::<u64>() > limit {
            let victim = left.iter().position(|(_, order, _)| !order).unwrap_or(0);
            naive.push(left.remove(victim).0);
        }
        prop_assert_eq!(shed, naive);
        prop_assert!(queue.bytes <= limit);
        prop_assert_eq!(waiting(&queue), left.into_iter().map(|(seq, ..)| seq).collect());
    }
}
