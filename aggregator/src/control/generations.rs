//! Which generation of state is in use, and who may write it.
//!
//! Numbers are never given twice. Whatever is listed and not in use is being built, or is to be removed.

use super::{Control, ControlError};

/// The generations of state that may have left something in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generations {
    /// What readers see.
    pub in_use: u32,
    /// The format of its records.
    pub format: u32,
    /// To be removed, unless it is being built right now.
    pub others: Vec<u32>,
}

impl Control {
    /// Begins an epoch: gives a number that is higher than any before.
    pub fn begin_epoch(&self) -> Result<u64, ControlError> {
        let epoch: i64 = self.db().query_row(
            "UPDATE meta SET epoch = epoch + 1 RETURNING epoch",
            [],
            |row| row.get(0),
        )?;
        Ok(epoch as u64)
    }

    /// The generations there are.
    pub fn generations(&self) -> Result<Generations, ControlError> {
        let db = self.db();
        let (in_use, format) = db.query_row(
            "SELECT number, format FROM generations WHERE in_use = 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let mut others =
            db.prepare("SELECT number FROM generations WHERE in_use = 0 ORDER BY number")?;
        let others = others.query_map([], |row| row.get(0))?;
        Ok(Generations {
            in_use,
            format,
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

    /// Puts a generation in the place of the one in use, at once.
    pub fn use_generation(&self, number: u32) -> Result<(), ControlError> {
        let mut db = self.db();
        let transaction = db.transaction()?;
        transaction.execute("UPDATE generations SET in_use = 0 WHERE in_use = 1", [])?;
        transaction.execute(
            "UPDATE generations SET in_use = 1 WHERE number = ?1",
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
    use super::{Control, Generations};

    #[test]
    fn epochs_and_generations_are_given_once_and_outlive_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("control.sqlite");
        let control = Control::open(&file).unwrap();
        assert!(control.begin_epoch().unwrap() < control.begin_epoch().unwrap());
        let first = control.generations().unwrap();
        let second = control.add_generation(7).unwrap();
        assert_eq!(control.generations().unwrap().in_use, first.in_use);
        control.use_generation(second).unwrap();
        let now = Generations {
            in_use: second,
            format: 7,
            others: vec![first.in_use],
        };
        assert_eq!(control.generations().unwrap(), now);
        let epoch = control.begin_epoch().unwrap();
        drop(control);

        let control = Control::open(&file).unwrap();
        assert!(control.begin_epoch().unwrap() > epoch);
        assert_eq!(control.generations().unwrap(), now);
        control.forget_generation(first.in_use).unwrap();
        control.forget_generation(second).unwrap();
        let now = control.generations().unwrap();
        assert_eq!((now.in_use, now.others), (second, vec![]), "it is in use");
        let third = control.add_generation(7).unwrap();
        control.forget_generation(third).unwrap();
        assert!(control.add_generation(7).unwrap() > third);
    }
}
