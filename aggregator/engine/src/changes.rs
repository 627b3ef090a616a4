//! Signed changes to rollup rows, summed up.

use crate::row::{Row, RowKey};
use foldhash::fast::RandomState;
use std::collections::HashMap;

/// What has to be added to the rows of a site. One `Changes` may collect those of many visitors.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    rows: HashMap<RowKey, Row, RandomState>,
}

impl Changes {
    /// The rows that change, in no particular order, by how much.
    pub fn rows(&self) -> impl Iterator<Item = (&RowKey, &Row)> {
        self.rows.iter().filter(|(_, row)| !row.is_zero())
    }

    /// Whether no row changes.
    pub fn is_empty(&self) -> bool {
        self.rows().next().is_none()
    }

    /// Adds to a row that the engine does not make itself.
    pub fn add(&mut self, key: RowKey, row: &Row) {
        self.row(key).add(row);
    }

    pub(crate) fn row(&mut self, key: RowKey) -> &mut Row {
        self.rows.entry(key).or_default()
    }
}

impl IntoIterator for Changes {
    type Item = (RowKey, Row);
    type IntoIter = std::vec::IntoIter<(RowKey, Row)>;

    /// The rows that change, by how much, in the order of their keys.
    fn into_iter(self) -> Self::IntoIter {
        let mut rows: Vec<_> = self
            .rows
            .into_iter()
            .filter(|(_, row)| !row.is_zero())
            .collect();
        rows.sort_unstable_by_key(|(key, _)| *key);
        rows.into_iter()
    }
}
