//! What is remembered of a visitor.

use crate::codec::{DecodeError, Reader};

/// Everything that is needed to judge a visitor's next event and to take back what the visitor contributed to rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visitor {}

const FORMAT: u8 = 1;

impl Visitor {
    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let reader = Reader::new(bytes, FORMAT)?;
        reader.finish()?;
        Ok(Self {})
    }

    /// Appends the record as bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
    }
}
