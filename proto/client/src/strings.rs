//! A table of texts in UTF-8, each of which is said once.

use alloc::vec;
use alloc::vec::Vec;

/// Texts in the order in which they were first met, found by a hash table: batches may hold tens of thousands.
#[derive(Default)]
pub(crate) struct Strings<'a> {
    list: Vec<&'a [u8]>,
    /// A text's index plus 1 at the first slot from its hash on that was free; 0 = free. Their number is a power of
    /// two, and half of them are free at least.
    slots: Vec<u32>,
}

impl<'a> Strings<'a> {
    /// The 0-based index of a text, which is added if need be.
    pub(crate) fn index(&mut self, text: &'a [u8]) -> u32 {
        if self.slots.len() <= 2 * self.list.len() {
            self.grow();
        }
        let slot = self.slot(text);
        match self.slots.get_mut(slot) {
            Some(0) | None => {}
            Some(taken) => return *taken - 1,
        }
        self.list.push(text);
        self.occupy(slot, self.list.len());
        self.list.len() as u32 - 1
    }

    /// All texts by their index.
    pub(crate) fn list(&self) -> &[&'a [u8]] {
        &self.list
    }

    fn grow(&mut self) {
        self.slots = vec![0; (4 * self.list.len()).max(64).next_power_of_two()];
        for index in 0..self.list.len() {
            let slot = self.list.get(index).map_or(0, |text| self.slot(text));
            self.occupy(slot, index + 1);
        }
    }

    fn occupy(&mut self, slot: usize, value: usize) {
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = value as u32;
        }
    }

    /// The slot that has `text`, else the free one where it belongs.
    fn slot(&self, text: &[u8]) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = fnv1a(text) as usize & mask;
        loop {
            let index = self.slots.get(slot).map_or(0, |index| *index as usize);
            if index == 0 || self.list.get(index - 1).is_some_and(|known| *known == text) {
                return slot;
            }
            slot = (slot + 1) & mask;
        }
    }
}

/// The FNV-1a hash.
pub(crate) fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::Strings;

    #[test]
    fn a_text_keeps_its_index_however_many_follow() {
        let texts: Vec<String> = (0..5_000).map(|n| format!("text {n}")).collect();
        let mut strings = Strings::default();
        for _ in 0..2 {
            for (index, text) in texts.iter().enumerate() {
                assert_eq!(strings.index(text.as_bytes()) as usize, index);
            }
        }
        assert!(
            strings
                .list()
                .iter()
                .copied()
                .eq(texts.iter().map(String::as_bytes))
        );
    }
}
