//! The bytes of a segment file.
//!
//! A segment begins with a header and goes on with records, all numbers little endian:
//!
//! ```text
//! header  "WKLSEG\x00\x01" | first: u64 | previous_end: u64 | CRC-32C of the above | 0u32
//! record  F7 'W' 'K' F8 | CRC-32C of what follows | length: u32 | span: u32 | position: u64 | payload
//! ```
//!
//! `first` is also the file's name. Records of older segments at or above `previous_end` are void: they were written
//! and never became durable, and what was in them follows in this segment at positions of its own.
//! The record's mark is no UTF-8, so that texts inside a damaged record are not taken for one.

/// Bytes of a segment's header.
pub(crate) const SEGMENT_HEADER: usize = 32;
/// Bytes of a record before its payload.
pub(crate) const RECORD_HEADER: usize = 24;
/// Longest payload.
pub(crate) const MAX_PAYLOAD: usize = 64 << 20;
/// First bytes of a record.
pub(crate) const RECORD_MARK: [u8; 4] = [0xF7, b'W', b'K', 0xF8];

const SEGMENT_MAGIC: [u8; 8] = *b"WKLSEG\x00\x01";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) first: u64,
    pub(crate) previous_end: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..16].copy_from_slice(&self.first.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.previous_end.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..24]);
        bytes[24..28].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let header = Self {
            first: u64_at(bytes, 8)?,
            previous_end: u64_at(bytes, 16)?,
        };
        // A file that ends inside the header must not be written on behind it.
        let sound = bytes.len() >= SEGMENT_HEADER
            && bytes[..8] == SEGMENT_MAGIC
            && u32_at(bytes, 24)? == crc32c::crc32c(&bytes[..24]);
        sound.then_some(header)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    crc: u32,
    pub(crate) length: u32,
    pub(crate) span: u32,
    pub(crate) position: u64,
}

impl RecordHeader {
    /// Reads a header; `None` if these are not the first bytes of a record.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let header = Self {
            crc: u32_at(bytes, 4)?,
            length: u32_at(bytes, 8)?,
            span: u32_at(bytes, 12)?,
            position: u64_at(bytes, 16)?,
        };
        let plausible = bytes[..4] == RECORD_MARK
            && header.length as usize <= MAX_PAYLOAD
            && header.span > 0
            && header.position.checked_add(header.span.into()).is_some();
        plausible.then_some(header)
    }

    /// Bytes of the whole record.
    pub(crate) fn total(&self) -> usize {
        RECORD_HEADER + self.length as usize
    }

    /// The position after the record.
    pub(crate) fn end(&self) -> u64 {
        self.position + u64::from(self.span)
    }

    /// Whether `record`, which begins with this header and is whole, is as it was written.
    pub(crate) fn is_sound(&self, record: &[u8]) -> bool {
        crc32c::crc32c(&record[8..self.total()]) == self.crc
    }
}

/// Appends a record to `out`. The payload is at most [`MAX_PAYLOAD`] long.
pub(crate) fn encode_record(out: &mut Vec<u8>, position: u64, span: u32, payload: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&RECORD_MARK);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&span.to_le_bytes());
    out.extend_from_slice(&position.to_le_bytes());
    out.extend_from_slice(payload);
    let crc = crc32c::crc32c(&out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{RecordHeader, SegmentHeader, encode_record};
    use proptest::prelude::*;

    #[test]
    fn any_flipped_bit_of_a_record_shows() {
        let mut bytes = Vec::new();
        encode_record(&mut bytes, 7, 3, b"payload");
        let header = RecordHeader::decode(&bytes).unwrap();
        assert_eq!(
            (header.position, header.end(), header.total()),
            (7, 10, bytes.len())
        );
        assert!(header.is_sound(&bytes));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let passes = RecordHeader::decode(&bad)
                .is_some_and(|header| header.total() <= bad.len() && header.is_sound(&bad));
            assert!(!passes, "bit {bit}");
        }
    }

    #[test]
    fn segment_header_is_read_back_and_a_flipped_bit_shows() {
        let header = SegmentHeader {
            first: 9,
            previous_end: 5,
        };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Some(header));
        for bit in 0..28 * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bad), None, "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = SegmentHeader::decode(&bytes);
            if let Some(header) = RecordHeader::decode(&bytes)
                && header.total() <= bytes.len()
            {
                let _ = header.is_sound(&bytes);
            }
        }
    }
}
