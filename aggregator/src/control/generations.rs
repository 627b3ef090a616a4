//! Which generation of state is in use, and who may write it.
//!
//! Numbers are never given twice. Beside the generation in use the one before it may be kept, to go back to. Whatever else
//! is listed is being built, or is to be removed.

use rusqlite::{OptionalExtension as _, Row};

use super::{Control, ControlError};

/// A generation of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Its number.
    pub number: u32,
    /// The format of its records.
    pub format: u32,
}

/// The generations of state that may have left something in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generations {
    /// What readers see.
    pub in_use: Generation,
    /// What they saw before, if it is kept: as it was then.
    pub previous: Option<Generation>,
    /// To be removed, unless it is being built right now.
    pub others: Vec<u32>,
}

impl Control {
    /// Begins an epoch: gives a number that is higher than any before.
    pub fn begin_epoch(&self) -> Result<u64, ControlError> {
        self.begin_epoch_above(0)
    }

    /// Begins an epoch with a number that is higher than `found`, too.
    pub fn begin_epoch_above(&self, found: u64) -> Result<u64, ControlError> {
        let epoch: i64 = self.db().query_row(
            "UPDATE meta SET epoch = max(epoch, ?1) + 1 RETURNING epoch",
            [i64::try_from(found).unwrap_or(i64::MAX - 1)],
            |row| row.get(0),
        )?;
        Ok(epoch as u64)
    }

    /// The generations there are.
    pub fn generations(&self) -> Result<Generations, ControlError> {
        let db = self.db();
        let read = |row: &Row<'_>| {
            Ok(Generation {
                number: row.get(0)?,
                format: row.get(1)?,
            })
        };
        let in_use = "SELECT number, format FROM generations WHERE in_use = 1";
        let previous = "SELECT number, format FROM generations WHERE previous = 1";
        let others =
            "SELECT number FROM generations WHERE in_use = 0 AND previous = 0 ORDER BY number";
        let mut others = db.prepare(others)?;
        let others = others.query_map([], |row| row.get(0))?;
        Ok(Generations {
            in_use: db.query_row(in_use, [], read)?,
            previous: db.query_row(previous, [], read).optional()?,
            others: others.collect::<Result<_, _>>()?,
        })
    }

    /// Lists a generation that is about to be built, and gives its number.
    pub fn add_generation(&self, format: u32) -> Result<u32, ControlError> {
        let number = self.db().query_row(
            "INSERT INTO generations (format, in_use) VALUES (?1, 0) RETURNING number",
            [format],
            |row| row.get(0),
        )?;
        Ok(number)
    }

    /// Puts a generation in the place of the one in use, at once. That one is the previous one from now on if it is to be
    /// kept; what was the previous one so far is to be removed.
    pub fn use_generation(&self, number: u32, keep: bool) -> Result<(), ControlError> {
        let mut db = self.db();
        let transaction = db.transaction()?;
        transaction.execute("UPDATE generations SET previous = 0", [])?;
        transaction.execute(
            "UPDATE generations SET in_use = 0, previous = ?1 WHERE in_use = 1",
            [keep],
        )?;
        transaction.execute(
            "UPDATE generations SET in_use = 1, previous = 0 WHERE number = ?1",
            [number],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// Strikes a generation that was removed off the list.
    pub fn forget_generation(&self, number: u32) -> Result<(), ControlError> {
        self.db().execute(
            "DELETE FROM generations WHERE number = ?1 AND in_use = 0",
            [number],
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Control, Generation, Generations};

    fn of(number: u32) -> Generation {
        Generation { number, format: 7 }
    }

    #[test]
    fn epochs_and_generations_are_given_once_and_outlive_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("control.sqlite");
        let control = Control::open(&file).unwrap();
        assert!(control.begin_epoch().unwrap() < control.begin_epoch().unwrap());
        let first = control.generations().unwrap().in_use;
        let second = control.add_generation(7).unwrap();
        assert_eq!(control.generations().unwrap().in_use, first);
        control.use_generation(second, false).unwrap();
        let now = Generations {
            in_use: of(second),
            previous: None,
            others: vec![first.number],
        };
        assert_eq!(control.generations().unwrap(), now);
        let epoch = control.begin_epoch().unwrap();
        drop(control);

        let control = Control::open(&file).unwrap();
        assert!(control.begin_epoch().unwrap() > epoch);
        assert_eq!(control.begin_epoch_above(epoch + 70).unwrap(), epoch + 71);
        assert_eq!(control.begin_epoch_above(epoch).unwrap(), epoch + 72);
        assert_eq!(control.generations().unwrap(), now);
        control.forget_generation(first.number).unwrap();
        control.forget_generation(second).unwrap();
        let now = control.generations().unwrap();
        assert_eq!(
            (now.in_use, now.others),
            (of(second), vec![]),
            "it is in use"
        );
        let third = control.add_generation(7).unwrap();
        control.forget_generation(third).unwrap();
        assert!(control.add_generation(7).unwrap() > third);
    }

    #[test]
    fn one_generation_is_kept_beside_the_one_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let control = Control::open(&dir.path().join("control.sqlite")).unwrap();
        let first = control.generations().unwrap().in_use.number;
        let [second, third] = [(); 2].map(|()| control.add_generation(7).unwrap());
        let listed = || {
            let now = control.generations().unwrap();
            let previous = now.previous.map(|previous| previous.number);
            (now.in_use.number, previous, now.others)
        };
        control.use_generation(second, true).unwrap();
        assert_eq!(listed(), (second, Some(first), vec![third]));
        control.use_generation(third, true).unwrap();
        assert_eq!(listed(), (third, Some(second), vec![first]));
        control.use_generation(second, true).unwrap();
        assert_eq!(listed(), (second, Some(third), vec![first]));
    }
}
