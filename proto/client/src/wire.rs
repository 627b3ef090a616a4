//! Varints, and as much of protobuf as the client writes and reads.
//!
//! The generated messages would do it all, in ten times the bytes of the browser SDK.

use alloc::vec::Vec;

/// Writes a varint.
pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes bytes after their length.
pub(crate) fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Small codes for integers near 0 of either sign.
pub(crate) fn zigzag(integer: i64) -> u64 {
    ((integer << 1) ^ (integer >> 63)) as u64
}

/// Reverses [`zigzag`].
pub(crate) fn unzigzag(code: u64) -> i64 {
    (code >> 1) as i64 ^ -((code & 1) as i64)
}

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const SIZED: u8 = 2;
const FIXED32: u8 = 5;

/// A protobuf message that is being written. Fields come in the order of their numbers, which are below 16.
#[derive(Debug, Default)]
pub(crate) struct Message {
    pub(crate) bytes: Vec<u8>,
}

impl Message {
    /// A number, left out if it is 0.
    pub(crate) fn number(&mut self, field: u8, value: u64) {
        if value != 0 {
            self.bytes.push(field << 3 | VARINT);
            varint(&mut self.bytes, value);
        }
    }

    /// A number of eight bytes, left out if it is 0.
    pub(crate) fn fixed64(&mut self, field: u8, value: u64) {
        if value != 0 {
            self.bytes.push(field << 3 | FIXED64);
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// A text or a packed list, left out if it is empty.
    pub(crate) fn bytes(&mut self, field: u8, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.part(field, bytes);
        }
    }

    /// A message, or an element of a list: never left out.
    pub(crate) fn part(&mut self, field: u8, bytes: &[u8]) {
        self.bytes.push(field << 3 | SIZED);
        sized(&mut self.bytes, bytes);
    }
}

/// What a field of a protobuf message holds.
pub(crate) enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// A number of fixed size: nothing that the client reads has one.
    Other,
}

/// Reads bytes from the front; `None` where they are not as they should be.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// All that was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*byte)
    }

    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(taken)
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// Eight bytes, little endian.
    pub(crate) fn fixed64(&mut self) -> Option<u64> {
        let bytes = self.take(8)?.try_into().ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    /// Bytes after their length.
    pub(crate) fn sized(&mut self) -> Option<&'a [u8]> {
        let length = self.varint()?;
        self.take(usize::try_from(length).ok()?)
    }

    /// The next field of a protobuf message and its number. Groups, which nobody writes, are not read.
    pub(crate) fn field(&mut self) -> Option<(u32, Field<'a>)> {
        let key = u32::try_from(self.varint()?).ok()?;
        let field = match (key & 7) as u8 {
            VARINT => Field::Number(self.varint()?),
            SIZED => Field::Bytes(self.sized()?),
            FIXED64 => self.take(8).map(|_| Field::Other)?,
            FIXED32 => self.take(4).map(|_| Field::Other)?,
            _ => return None,
        };
        (key >> 3 != 0).then_some((key >> 3, field))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Reader, unzigzag, varint, zigzag};

    proptest! {
        #[test]
        fn integers_come_back(integer in any::<i64>()) {
            let mut bytes = Vec::new();
            varint(&mut bytes, zigzag(integer));
            prop_assert_eq!(Reader::new(&bytes).varint().map(unzigzag), Some(integer));
        }

        #[test]
        fn varints_are_read_as_prost_reads_them(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let expected = prost::encoding::decode_varint(&mut bytes.as_slice()).ok();
            prop_assert_eq!(Reader::new(&bytes).varint(), expected);
        }
    }
}
