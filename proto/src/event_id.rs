//! Ids of events, given once by the client and kept through every retry.

use core::fmt;

/// An event's id by an SDK: a stream (64 random bits of one page load or process) and a sequence number in it.
///
/// As text, in JSON's `"id"`: sixteen hex digits, a dot, the number: `00c0ffee00c0ffee.17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    /// Never 0.
    pub stream: u64,
    /// Counts from 0.
    pub seq: u64,
}

impl EventId {
    /// Reads the text form; `None` if `text` is some other client's id.
    pub fn parse(text: &str) -> Option<Self> {
        let (stream, seq) = text.split_once('.')?;
        let canonical = stream.len() == 16
            && stream
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            && !seq.is_empty()
            && seq.bytes().all(|b| b.is_ascii_digit())
            && (seq == "0" || !seq.starts_with('0'));
        if !canonical {
            return None;
        }
        let stream = u64::from_str_radix(stream, 16)
            .ok()
            .filter(|stream| *stream != 0)?;
        let seq = seq
            .parse()
            .ok()
            .filter(|seq| *seq <= crate::limits::MAX_SEQ)?;
        Some(Self { stream, seq })
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.{}", self.stream, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::EventId;

    #[test]
    fn text_form_is_read_back() {
        let id = EventId {
            stream: 0x00c0_ffee_00c0_ffee,
            seq: 17,
        };
        assert_eq!(id.to_string(), "00c0ffee00c0ffee.17");
        assert_eq!(EventId::parse(&id.to_string()), Some(id));
    }

    #[test]
    fn other_ids_are_not_taken_for_ours() {
        for text in [
            "",
            ".",
            "00c0ffee00c0ffee",
            "00c0ffee00c0ffee.",
            "00C0FFEE00C0FFEE.1",
            "00c0ffee00c0ffee.01",
            "00c0ffee00c0ffee.+1",
            "0000000000000000.1",
            "00c0ffee00c0ffee.4294967296",
            "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        ] {
            assert_eq!(EventId::parse(text), None, "{text}");
        }
    }
}
