//! Bytes as text for `localStorage`, which takes no bytes: a character for each, U+0000 to U+00FF. Browsers store such
//! texts with one byte a character.

/// The text for `bytes`.
pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The bytes of `text`; what is no byte becomes `?`, and what was stored is then found to be damaged.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(c).unwrap_or(b'?'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{bytes, text};

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(text(&all).chars().count(), 256);
        assert_eq!(bytes(&text(&all)), all);
    }

    #[test]
    fn foreign_text_is_taken_without_panic() {
        assert_eq!(bytes("a€b"), b"a?b");
    }
}
