//! Under which edge ids the spool's positions are known to the aggregator.
//!
//! An edge id is 64 random bits and names one opening of a spool: what was spooled from then on until the next opening.
//! The aggregator tells events by edge id and position, so no pair of them may ever be used for two events. Positions
//! alone are used again when a folder is restored from a backup or copied, therefore each opening draws an id of its
//! own. What an earlier opening left is sent under the id that it was spooled under, and so known if it came before.
//!
//! The file `edges` has a line `POSITION EDGE` for each opening, oldest first: where its positions begin, and its id in
//! 16 hex digits. It is durable before anything is appended. Openings that nothing is kept of, or that the aggregator
//! has all of, are left out.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use crate::snapshot::save;

const FILE: &str = "edges";
/// Had the one id of a spool, from position 0 on.
const OLD_FILE: &str = "edge";
/// The last acknowledged position, and the edge id that it belongs to.
const ACKED_FILE: &str = "acked";

/// The openings of a spool, oldest first. There is at least one: the newest, which takes what is appended now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Edges {
    openings: Vec<Opening>,
    /// The ids of openings that the data folder knew of and that are left out now: all of them is acknowledged, or nothing
    /// was spooled.
    over: Vec<u64>,
}

/// One opening of a spool.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Opening {
    /// The first of its positions.
    pub(crate) first: u64,
    /// Its edge id.
    pub(crate) edge: u64,
}

impl Edges {
    /// Draws an id for what is spooled from now on. The spool in the data folder keeps positions from `first` on, and
    /// gives `next` to the next event.
    pub(crate) fn open(data: &Path, first: u64, next: u64) -> io::Result<Self> {
        let mut list = read(data)?.unwrap_or_default();
        let known: Vec<u64> = list.iter().map(|opening| opening.edge).collect();
        // Openings are left out once the aggregator has all of them: what is below the oldest is not to be sent.
        let all_acked = list.first().is_some_and(|oldest| oldest.first == next);
        // Nothing was spooled under them; or it was in another life of the folder, and is not here.
        list.retain(|opening| opening.first < next);
        let edge = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
        if list.is_empty() && first < next && !all_acked {
            tracing::error!(
                path = %data.join(FILE).display(),
                edge = format!("{edge:016x}"),
                "the edge ids of the spool are lost: all of it is sent under a new one, and events without an id of \
                 their own are counted twice if the aggregator has them already"
            );
            list.push(Opening { first, edge });
        } else {
            list.push(Opening { first: next, edge });
        }
        let mut edges = Self {
            openings: list,
            over: Vec::new(),
        };
        edges.prune(first.max(edges.acked(data).unwrap_or(0)));
        let kept = |edge: &u64| edges.openings.iter().any(|opening| opening.edge == *edge);
        edges.over = known.into_iter().filter(|edge| !kept(edge)).collect();
        save(&data.join(FILE), edges.text().as_bytes())?;
        let removed = std::fs::remove_file(data.join(OLD_FILE));
        removed.or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        Ok(edges)
    }

    /// The id of what is spooled now.
    pub(crate) fn newest(&self) -> u64 {
        self.openings.last().map_or(0, |opening| opening.edge)
    }

    /// The first position that an id is known of. What is below is acknowledged.
    pub(crate) fn first(&self) -> u64 {
        self.openings.first().map_or(0, |opening| opening.first)
    }

    /// The id that `position` was spooled under, and the position at which the next opening's begin; none if that is
    /// the newest.
    pub(crate) fn at(&self, position: u64) -> (u64, Option<u64>) {
        let after = self
            .openings
            .partition_point(|opening| opening.first <= position)
            .max(1);
        let edge = self
            .openings
            .get(after - 1)
            .map_or(0, |opening| opening.edge);
        (edge, self.openings.get(after).map(|opening| opening.first))
    }

    /// The ids of openings before that of `edge`, of which nothing is to be sent any more when its stream begins.
    pub(crate) fn before(&self, edge: u64) -> impl Iterator<Item = u64> + '_ {
        let openings = self.openings.iter().map(|opening| opening.edge);
        let over = self.over.iter().copied();
        over.chain(openings.take_while(move |other| *other != edge))
    }

    /// The position below which the aggregator has all, as far as is known in the data folder.
    pub(crate) fn acked(&self, data: &Path) -> Option<u64> {
        let text = std::fs::read_to_string(data.join(ACKED_FILE)).ok()?;
        let (edge, position) = text.trim().split_once(' ')?;
        let (edge, position) = (parse_edge(edge)?, position.parse::<u64>().ok()?);
        let opening = self
            .openings
            .iter()
            .position(|opening| opening.edge == edge)?;
        // It may have been more, in another life of the folder. Its later positions are not the ones here.
        let end = self
            .openings
            .get(opening + 1)
            .map_or(u64::MAX, |next| next.first);
        Some(position.min(end))
    }

    /// Keeps that the aggregator has all below `position`. Not synced: an old file costs sending twice, no more.
    pub(crate) fn save_acked(&self, data: &Path, position: u64) -> io::Result<()> {
        let (edge, _) = self.at(position.saturating_sub(1));
        let path = data.join(ACKED_FILE);
        let new = path.with_extension("new");
        std::fs::write(&new, format!("{edge:016x} {position}\n"))?;
        std::fs::rename(&new, path)
    }

    /// Forgets openings whose positions are all below `floor`.
    fn prune(&mut self, floor: u64) {
        let gone = self
            .openings
            .partition_point(|opening| opening.first <= floor);
        self.openings.drain(..gone.saturating_sub(1));
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for opening in &self.openings {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{} {:016x}", opening.first, opening.edge);
        }
        text
    }

    #[cfg(test)]
    pub(crate) fn only(edge: u64) -> Self {
        Self {
            openings: vec![Opening { first: 0, edge }],
            over: Vec::new(),
        }
    }
}

/// The openings that the data folder tells of; `None` if it tells of none, or nothing that can be understood.
pub(crate) fn read(data: &Path) -> io::Result<Option<Vec<Opening>>> {
    if let Some(text) = read_file(&data.join(FILE))? {
        return Ok(parse(&text));
    }
    let old = read_file(&data.join(OLD_FILE))?;
    Ok(old
        .and_then(|text| parse_edge(text.trim()))
        .map(|edge| vec![Opening { first: 0, edge }]))
}

fn read_file(path: &Path) -> io::Result<Option<String>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse(text: &str) -> Option<Vec<Opening>> {
    let list = text
        .lines()
        .map(|line| {
            let (first, edge) = line.split_once(' ')?;
            Some(Opening {
                first: first.parse().ok()?,
                edge: parse_edge(edge)?,
            })
        })
        .collect::<Option<Vec<_>>>()?;
    list.is_sorted_by(|one, next| one.first < next.first)
        .then_some(list)
}

fn parse_edge(text: &str) -> Option<u64> {
    (text.len() == 16)
        .then(|| u64::from_str_radix(text, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_opening_has_its_own_id_and_leaves_the_earlier_ones_theirs() {
        let dir = tempfile::tempdir().unwrap();
        let one = Edges::open(dir.path(), 0, 0).unwrap();
        let two = Edges::open(dir.path(), 0, 17).unwrap();
        assert_ne!(one.newest(), two.newest());
        assert_eq!(two.at(16), (one.newest(), Some(17)));
        assert_eq!(two.at(17), (two.newest(), None));
        assert_eq!(read(dir.path()).unwrap(), Some(two.openings));
    }

    #[test]
    fn an_opening_under_which_nothing_was_spooled_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        Edges::open(dir.path(), 0, 0).unwrap();
        let first = Edges::open(dir.path(), 0, 0).unwrap();
        Edges::open(dir.path(), 0, 5).unwrap();
        let last = Edges::open(dir.path(), 0, 5).unwrap();
        assert_eq!(last.openings.len(), 2);
        assert_eq!(last.at(0), (first.newest(), Some(5)));
    }

    #[test]
    fn what_is_acknowledged_is_not_sent_again_after_an_opening_under_which_nothing_was_spooled() {
        let dir = tempfile::tempdir().unwrap();
        let first = Edges::open(dir.path(), 0, 0).unwrap();
        first.save_acked(dir.path(), 17).unwrap();
        let second = Edges::open(dir.path(), 0, 17).unwrap();
        assert_eq!((second.openings.len(), second.first()), (1, 17));
        let third = Edges::open(dir.path(), 0, 17).unwrap();
        assert_eq!(third.first(), 17);
        assert_ne!(third.newest(), second.newest());
    }

    #[test]
    fn openings_of_which_nothing_is_to_be_sent_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        for next in [0, 10, 20] {
            Edges::open(dir.path(), 0, next).unwrap();
        }
        let edges = Edges::open(dir.path(), 12, 30).unwrap();
        assert_eq!((edges.openings.len(), edges.first()), (3, 10));
        edges.save_acked(dir.path(), 30).unwrap();
        let edges = Edges::open(dir.path(), 12, 40).unwrap();
        assert_eq!((edges.openings.len(), edges.first()), (2, 30));
        assert_eq!(edges.acked(dir.path()), None, "that opening is forgotten");
    }

    #[test]
    fn a_stream_names_the_openings_before_its_own_whether_they_are_kept_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let one = Edges::open(dir.path(), 0, 0).unwrap();
        let two = Edges::open(dir.path(), 0, 10).unwrap();
        assert_eq!(two.before(one.newest()).count(), 0);
        assert!(two.before(two.newest()).eq([one.newest()]));
        two.save_acked(dir.path(), 10).unwrap();
        let three = Edges::open(dir.path(), 0, 10).unwrap();
        assert!(
            three
                .before(three.newest())
                .eq([one.newest(), two.newest()])
        );
        let four = Edges::open(dir.path(), 0, 20).unwrap();
        assert!(four.before(four.newest()).eq([three.newest()]));
    }

    #[test]
    fn what_was_acknowledged_in_another_life_of_the_folder_is_not_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let one = Edges::open(dir.path(), 0, 0).unwrap();
        one.save_acked(dir.path(), 1_000).unwrap();
        let next = Opening {
            first: 500,
            edge: 7,
        };
        let restored = Edges {
            openings: vec![one.openings[0], next],
            over: Vec::new(),
        };
        assert_eq!(restored.acked(dir.path()), Some(500));
        Edges::open(dir.path(), 0, 500).unwrap();
        let later = Edges::open(dir.path(), 0, 1_500).unwrap();
        assert_eq!((later.first(), later.acked(dir.path())), (500, None));
    }

    #[test]
    fn the_one_id_of_an_older_version_is_kept_for_what_it_spooled() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("edge"), "00abcdef01234567\n").unwrap();
        let edges = Edges::open(dir.path(), 3, 9).unwrap();
        assert_eq!(edges.at(8), (0x00ab_cdef_0123_4567, Some(9)));
        assert!(!dir.path().join("edge").exists());
    }

    #[test]
    fn without_ids_that_can_be_read_all_of_the_spool_gets_a_new_one() {
        for text in [
            "xyz",
            "0 12\n",
            "5 00abcdef01234567\n5 00abcdef01234568\n",
            "\u{fffd}",
        ] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("edges"), text).unwrap();
            let edges = Edges::open(dir.path(), 3, 9).unwrap();
            assert_eq!(edges.at(3), (edges.newest(), None), "{text}");
            assert_eq!(read(dir.path()).unwrap(), Some(edges.openings));
        }
        let dir = tempfile::tempdir().unwrap();
        let edges = Edges::open(dir.path(), 3, 9).unwrap();
        assert_eq!(edges.at(3), (edges.newest(), None));
    }
}
