//! Files that are cut, or of which bits flip, while the log is closed.
use std::{collections::BTreeSet, fs, path::Path};

use proptest::prelude::*;
use wakeline_spool::{Record, SegmentLog};

use crate::support::{
    append_some, assert_in_order, assert_same, drain, open, read_all, segments, small,
};

const HEADER: u64 = 32;
const RECORD_HEADER: u64 = 24;

/// Where each record lies, by the format: (segment, begin, end).
fn layout(dir: &Path, records: &[Record]) -> Vec<(usize, u64, u64)> {
    let paths = segments(dir);
    let firsts: Vec<u64> = paths
        .iter()
        .map(|path| path.file_stem().unwrap().to_str().unwrap().parse().unwrap())
        .collect();
    let mut at = vec![HEADER; paths.len()];
    records
        .iter()
        .map(|record| {
            let segment = firsts.partition_point(|first| *first <= record.position) - 1;
            let begin = at[segment];
            at[segment] += RECORD_HEADER + record.payload.len() as u64;
            (segment, begin, at[segment])
        })
        .collect()
}

async fn filled(dir: &Path, count: usize) -> Vec<Record> {
    let log = open(dir, small());
    let records = append_some(&log, count, 0).await;
    log.close().await;
    records
}

fn flip(path: &Path, bit: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn corrupt_record_in_an_old_segment_is_counted_once_and_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let mut records = filled(dir.path(), 60).await;
    let (segment, begin, _) = layout(dir.path(), &records)[3];
    assert_eq!(segment, 0);
    flip(&segments(dir.path())[0], (begin + RECORD_HEADER) * 8);

    let (log, recovery) = SegmentLog::open(dir.path(), small()).unwrap();
    assert_eq!(
        recovery.lost_corrupt, 0,
        "only the last segment is walked through"
    );
    let gone = records.remove(3);
    for _ in 0..2 {
        assert_same(&read_all(&log, 0), &records);
        assert_eq!(log.stats().lost_corrupt, 1);
        assert_eq!(log.stats().lost_positions, u64::from(gone.span));
    }
    // A reader that starts behind the damage does not take it for its own.
    assert_same(&read_all(&log, records[10].position), &records[10..]);
}

#[tokio::test]
async fn corrupt_record_in_the_last_segment_is_counted_at_opening_and_appending_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut records = filled(dir.path(), 6).await;
    let (_, begin, _) = layout(dir.path(), &records)[2];
    flip(&segments(dir.path())[0], begin * 8);

    let (log, recovery) = SegmentLog::open(dir.path(), small()).unwrap();
    assert_eq!((recovery.lost_corrupt, recovery.torn_bytes), (1, 0));
    let next = recovery.next_position;
    records.remove(2);
    records.extend(append_some(&log, 5, 9).await);
    assert_eq!(records[5].position, next);
    assert_same(&read_all(&log, 0), &records);
    assert_eq!(log.stats().lost_corrupt, 1);
}

#[tokio::test]
async fn torn_end_is_cut_and_its_positions_are_not_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut records = filled(dir.path(), 6).await;
    let path = &segments(dir.path())[0];
    let length = fs::metadata(path).unwrap().len();
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(length - 1)
        .unwrap();

    let (log, recovery) = SegmentLog::open(dir.path(), small()).unwrap();
    let torn = records.pop().unwrap();
    assert_eq!(
        recovery.torn_bytes,
        RECORD_HEADER + torn.payload.len() as u64 - 1
    );
    assert_eq!(log.durable(), torn.position);
    assert_eq!(log.stats().torn_bytes, recovery.torn_bytes);
    assert_same(&read_all(&log, 0), &records);
    let mut reader = log.reader(log.durable());
    let new = append_some(&log, 20, 9).await;
    assert!(new[0].position >= torn.position + u64::from(torn.span));
    assert_same(&drain(&mut reader, 1_000), &new);
    records.extend(new);
    assert_same(&read_all(&log, 0), &records);
    assert_eq!(log.stats().lost_corrupt, 0);
    log.close().await;
    let (log, recovery) = SegmentLog::open(dir.path(), small()).unwrap();
    assert_eq!((recovery.torn_bytes, recovery.lost_corrupt), (0, 0));
    assert_same(&read_all(&log, 0), &records);
    assert_eq!(log.stats().lost_corrupt, 0);
}

#[tokio::test]
async fn segment_that_was_being_made_when_the_process_ended_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let mut records = filled(dir.path(), 20).await;
    let last = records.last().unwrap();
    let next = last.position + u64::from(last.span);
    fs::write(dir.path().join(format!("{next:020}.seg")), b"WKLS").unwrap();
    let (log, recovery) = SegmentLog::open(dir.path(), small()).unwrap();
    assert_eq!(recovery.torn_bytes, 4);
    assert_eq!(log.durable(), next);
    records.extend(append_some(&log, 20, 9).await);
    assert_same(&read_all(&log, 0), &records);
    assert_eq!(log.stats().lost_corrupt, 0);
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    /// Of a bit of all bits.
    Flip(prop::sample::Index),
    /// Of the last segment, to a length below its own.
    Cut(prop::sample::Index),
    /// Of a run of bytes.
    Zero(prop::sample::Index, usize),
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let one = prop_oneof![
        4 => any::<prop::sample::Index>().prop_map(Damage::Flip),
        1 => any::<prop::sample::Index>().prop_map(Damage::Cut),
        1 => (any::<prop::sample::Index>(), 1_usize..300).prop_map(|(at, length)| Damage::Zero(at, length)),
    ];
    prop::collection::vec(one, 1..5)
}

fn apply(files: &mut [Vec<u8>], damage: Damage) {
    let total: usize = files.iter().map(Vec::len).sum();
    if total == 0 {
        return;
    }
    let place = |files: &[Vec<u8>], index: prop::sample::Index| {
        let mut at = index.index(total);
        let mut segment = 0;
        while at >= files[segment].len() {
            at -= files[segment].len();
            segment += 1;
        }
        (segment, at)
    };
    match damage {
        Damage::Flip(index) => {
            let (segment, at) = place(files, index);
            files[segment][at] ^= 1 << (at % 8);
        }
        Damage::Zero(index, length) => {
            let (segment, at) = place(files, index);
            let end = (at + length).min(files[segment].len());
            files[segment][at..end].fill(0);
        }
        Damage::Cut(index) => {
            if let Some(last) = files.last_mut().filter(|last| !last.is_empty()) {
                last.truncate(index.index(last.len()));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_damage_did_not_touch_is_read_in_order_and_once(count in 1_usize..60, damage in damage()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let records = filled(dir.path(), count).await;
            let layout = layout(dir.path(), &records);
            let paths = segments(dir.path());
            let originals: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
            let mut files = originals.clone();
            for damage in damage {
                apply(&mut files, damage);
            }
            for (path, bytes) in paths.iter().zip(&files) {
                fs::write(path, bytes).unwrap();
            }
            let mut expected: Vec<_> = records
                .iter()
                .zip(&layout)
                .filter(|(_, (segment, begin, end))| {
                    let range = *begin as usize..*end as usize;
                    files[*segment].get(range.clone()) == originals[*segment].get(range)
                })
                .map(|(record, _)| record.clone())
                .collect();

            let (log, recovery) = SegmentLog::open(dir.path(), small()).unwrap();
            assert_same(&read_all(&log, 0), &expected);
            let lost = log.stats().lost_corrupt;
            let new = append_some(&log, 30, 200).await;
            let last = records.last().unwrap();
            // Of a cut between two records there is no trace.
            if recovery.torn_bytes > 0 || files.last().map(Vec::len) == originals.last().map(Vec::len) {
                assert!(new[0].position >= last.position + u64::from(last.span));
            }
            expected.extend(new);
            assert_in_order(&expected);
            assert_same(&read_all(&log, 0), &expected);
            assert_eq!(log.stats().lost_corrupt, lost);
            drop(log);
            assert_same(&read_all(&open(dir.path(), small()), 0), &expected);
        });
    }
}

#[tokio::test]
async fn a_cut_anywhere_in_the_last_segment_costs_only_what_was_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let records = filled(dir.path(), 18).await;
    let layout = layout(dir.path(), &records);
    let last = segments(dir.path()).len() - 1;
    let whole = fs::read(&segments(dir.path())[last]).unwrap();
    let borders = layout
        .iter()
        .filter(|(segment, ..)| *segment == last)
        .flat_map(|(_, begin, end)| [*begin, begin + RECORD_HEADER, *end]);
    let lengths: BTreeSet<usize> = [1, 8, 28]
        .into_iter()
        .chain(borders)
        .flat_map(|border| border - 1..border + 2)
        .map(|length| length as usize)
        .filter(|length| *length < whole.len())
        .collect();
    for length in lengths {
        let copy = tempfile::tempdir().unwrap();
        for path in segments(dir.path()) {
            fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
        fs::write(&segments(copy.path())[last], &whole[..length]).unwrap();
        let mut expected: Vec<_> = records
            .iter()
            .zip(&layout)
            .filter(|(_, (segment, _, end))| *segment < last || *end <= length as u64)
            .map(|(record, _)| record.clone())
            .collect();
        let log = open(copy.path(), small());
        assert_same(&read_all(&log, 0), &expected);
        expected.extend(append_some(&log, 4, 200).await);
        assert_same(&read_all(&log, 0), &expected);
        assert_eq!(log.stats().lost_corrupt, 0);
    }
}
