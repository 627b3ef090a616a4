//! E-mail addresses, card numbers and phone numbers in texts.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use wakeline_proto::v1::Redaction;

/// What is done to each kind of personal data.
#[derive(Clone, Default)]
pub struct Redactions {
    /// To e-mail addresses.
    pub email: Redaction,
    /// To card numbers.
    pub card: Redaction,
    /// To phone numbers.
    pub phone: Redaction,
    /// Hashed along: a secret of the site, so that nobody else can find out by trying whose hash it is.
    pub salt: Vec<u8>,
}

impl std::fmt::Debug for Redactions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            email, card, phone, ..
        } = self;
        write!(f, "Redactions({email:?}, {card:?}, {phone:?})")
    }
}

/// First digits of the numbers of a card, from and to, and how many digits it has: as the networks publish them. Ids of
/// products and orders have as many digits, and every tenth a check digit that is right by chance.
const CARDS: &[(&str, &str, std::ops::RangeInclusive<usize>)] = &[
    ("4", "4", 16..=16),       // Visa
    ("51", "55", 16..=16),     // Mastercard
    ("2221", "2720", 16..=16), // Mastercard
    ("34", "34", 15..=15),     // American Express
    ("37", "37", 15..=15),     // American Express
    ("300", "305", 14..=14),   // Diners Club
    ("36", "36", 14..=14),     // Diners Club
    ("6011", "6011", 16..=16), // Discover
    ("644", "659", 16..=16),   // Discover
    ("3528", "3589", 16..=16), // JCB
    ("62", "62", 16..=19),     // UnionPay
    ("5018", "5020", 16..=19), // Maestro
    ("6304", "6304", 16..=19), // Maestro
    ("6759", "6763", 16..=19), // Maestro
];
/// Fewest and most digits of a card.
const MIN_CARD_DIGITS: usize = 14;
const MAX_CARD_DIGITS: usize = 19;
/// Digits of phone numbers with their country (E.164 has 15 at most).
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;

impl Redactions {
    /// Whether nothing is to be done.
    pub fn are_off(&self) -> bool {
        [self.email, self.card, self.phone]
            .iter()
            .all(|what| *what == Redaction::Off)
    }

    /// The text without what must not be in it.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.replace(text, |redaction| redaction)
    }

    /// An id without what must not be in it: always by a hash, since ids that were masked would be one and the same.
    pub fn redact_id<'a>(&self, id: &'a str) -> Cow<'a, str> {
        self.replace(id, |_| Redaction::Hash)
    }

    /// JSON without what must not be in its texts, names and numbers; what is found in a number makes a text of it.
    #[must_use]
    pub fn redact_json(&self, value: Value) -> Value {
        let redact = |text: String| match self.redact(&text) {
            Cow::Owned(redacted) => redacted,
            Cow::Borrowed(_) => text,
        };
        match value {
            Value::String(text) => redact(text).into(),
            Value::Number(number) => match self.redact(&number.to_string()) {
                Cow::Owned(redacted) => redacted.into(),
                Cow::Borrowed(_) => number.into(),
            },
            Value::Array(list) => list.into_iter().map(|one| self.redact_json(one)).collect(),
            Value::Object(members) => members
                .into_iter()
                .map(|(name, value)| (redact(name), self.redact_json(value)))
                .collect(),
            other => other,
        }
    }

    fn replace<'a>(&self, text: &'a str, by: impl Fn(Redaction) -> Redaction) -> Cow<'a, str> {
        let found = self.find(text);
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut kept = String::with_capacity(text.len());
        let mut end = 0;
        for (range, kind, redaction) in found {
            kept.push_str(&text[end..range.start]);
            match by(redaction) {
                Redaction::Mask => kept.extend(["[", kind, "]"]),
                Redaction::Hash => kept.push_str(&self.hash(kind, &text[range.clone()])),
                Redaction::Drop | Redaction::Off => {}
            }
            end = range.end;
        }
        kept.push_str(&text[end..]);
        Cow::Owned(kept)
    }

    /// Whether the text has something that makes its property be left out.
    pub fn drops(&self, text: &str) -> bool {
        self.find(text)
            .iter()
            .any(|(_, _, redaction)| *redaction == Redaction::Drop)
    }

    fn hash(&self, kind: &str, text: &str) -> String {
        let mut hasher = Sha256::new();
        hasher.update(&self.salt);
        hasher.update([0]);
        hasher.update(text.to_lowercase().replace("%40", "@").as_bytes());
        let digest = hasher.finalize();
        let short = digest
            .iter()
            .take(8)
            .fold(0_u64, |short, byte| short << 8 | u64::from(*byte));
        format!("{kind}-{short:016x}")
    }

    /// What is found and what is to be done with it, in order and without overlaps.
    fn find(&self, text: &str) -> Vec<(Range<usize>, &'static str, Redaction)> {
        let mut found = Vec::new();
        if !may_have_some(text) {
            return found;
        }
        if self.email != Redaction::Off {
            found.extend(emails(text).map(|range| (range, "email", self.email)));
        }
        if self.card != Redaction::Off || self.phone != Redaction::Off {
            for (range, digits, plus) in numbers(text) {
                if plus {
                    if self.phone != Redaction::Off && PHONE_DIGITS.contains(&digits.len()) {
                        found.push((range, "phone", self.phone));
                    }
                } else if self.card != Redaction::Off {
                    let cards = cards(text, &digits).into_iter();
                    found.extend(cards.map(|range| (range, "card", self.card)));
                }
            }
        }
        found.sort_by_key(|(range, ..)| range.start);
        let mut end = 0;
        found.retain(|(range, ..)| {
            let apart = range.start >= end;
            if apart {
                end = range.end;
            }
            apart
        });
        found
    }
}

/// `local@host.tld`, the at sign plain or as `%40`.
fn emails(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let signs = text.match_indices('@').chain(text.match_indices("%40"));
    signs.filter_map(|(at, sign)| {
        let bytes = text.as_bytes();
        // Letters of all languages; `%`, since what is escaped in a URL belongs to it, too.
        let of_local = |byte: &u8| {
            byte.is_ascii_alphanumeric() || !byte.is_ascii() || b".!#$%'*+-_~".contains(byte)
        };
        let of_host =
            |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii() || b".-".contains(byte);
        let local = bytes[..at]
            .iter()
            .rev()
            .take_while(|byte| of_local(byte))
            .count();
        let after = at + sign.len();
        let host = bytes[after..]
            .iter()
            .take_while(|byte| of_host(byte))
            .count();
        let host = text.get(after..after + host)?.trim_end_matches(['.', '-']);
        let (_, top) = host.rsplit_once('.')?;
        let is_top = top.chars().count() >= 2 && top.chars().all(char::is_alphabetic);
        (local > 0 && is_top).then(|| at - local..after + host.len())
    })
}

/// Where a digit is, and which.
type Digit = (usize, u8);

/// Runs of digits, which may be grouped by spaces, hyphens and the like, as they are and as URLs write them: where, the
/// digits, and whether a `+` (or `%2B`) stands before.
fn numbers(text: &str) -> Vec<(Range<usize>, Vec<Digit>, bool)> {
    let bytes = text.as_bytes();
    let mut all = Vec::new();
    let mut at = 0;
    // Where something may begin, though letters or digits stand before: they are an escape's.
    let mut free = 0;
    while at < bytes.len() {
        let escaped = bytes.get(at + 1..at + 3);
        if bytes[at] == b'%' && escaped.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)) {
            at += 3;
            free = at;
            continue;
        }
        if !bytes[at].is_ascii_digit() || at > free && bytes[at - 1].is_ascii_alphanumeric() {
            at += 1;
            continue;
        }
        let mut start = at;
        let mut digits = Vec::new();
        let mut end = at;
        let mut separators = 0;
        while let Some(byte) = bytes.get(at) {
            if byte.is_ascii_digit() {
                digits.push((at, byte - b'0'));
                at += 1;
                end = at;
                separators = 0;
                continue;
            }
            separators += 1;
            let length = match byte {
                b' ' | b'-' | b'.' | b'(' | b')' | b'_' => 1,
                // A space in a query, if it is between digits; else the beginning of a phone number.
                b'+' if separators == 1 && bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => 1,
                b'%' if bytes[at..].starts_with(b"%20") => 3,
                _ => break,
            };
            if separators > 2 {
                break;
            }
            at += length;
        }
        let plus = if bytes[..start].ends_with(b"+") {
            start -= 1;
            true
        } else if bytes[..start].ends_with(b"%2B") {
            start -= 3;
            true
        } else {
            false
        };
        all.push((start..end, digits, plus));
        at = at.max(end);
    }
    all
}

/// Whole groups of the run that are together the number of a card: what stands beside it (an expiry, a check code, the
/// number of an order) hides none.
fn cards(text: &str, digits: &[Digit]) -> Vec<Range<usize>> {
    let begins = |at: usize| at == 0 || digits[at - 1].0 + 1 < digits[at].0;
    let ends = |at: usize| at == digits.len() || begins(at);
    let mut found = Vec::new();
    let mut from = 0;
    while from < digits.len() {
        let card = (MIN_CARD_DIGITS..=MAX_CARD_DIGITS)
            .rev()
            .map(|length| from + length)
            .find(|&to| {
                to <= digits.len() && begins(from) && ends(to) && {
                    let after = &text[digits[to - 1].0 + 1..];
                    let number: Vec<u8> =
                        digits[from..to].iter().map(|(_, digit)| *digit).collect();
                    !after.starts_with(|next: char| next.is_ascii_alphanumeric())
                        && is_card(&number)
                }
            });
        match card {
            Some(to) => {
                found.push(digits[from].0..digits[to - 1].0 + 1);
                from = to;
            }
            None => from += 1,
        }
    }
    found
}

/// Whether it is worth a closer look: most texts have no at sign and few digits. One pass, no memory.
fn may_have_some(text: &str) -> bool {
    let mut digits = 0;
    let mut bytes = text.bytes();
    bytes.any(|byte| {
        digits += usize::from(byte.is_ascii_digit());
        byte == b'@' || byte == b'%' || digits >= *PHONE_DIGITS.start()
    })
}

/// Whether the digits are those of a card that there is.
fn is_card(digits: &[u8]) -> bool {
    if digits.len() < MIN_CARD_DIGITS {
        return false;
    }
    let known = CARDS.iter().any(|(from, to, lengths)| {
        let first = digits[..from.len()].iter().map(|digit| digit + b'0');
        lengths.contains(&digits.len()) && first.clone().ge(from.bytes()) && first.le(to.bytes())
    });
    known && passes_luhn(digits)
}

/// The check digit of card numbers (ISO/IEC 7812-1, annex B).
fn passes_luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let digit = u32::from(*digit);
            match at % 2 {
                0 => digit,
                _ if digit > 4 => digit * 2 - 9,
                _ => digit * 2,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(redaction: Redaction) -> Redactions {
        Redactions {
            email: redaction,
            card: redaction,
            phone: redaction,
            salt: b"a secret".to_vec(),
        }
    }

    #[test]
    fn personal_data_is_masked_and_nothing_else() {
        for (text, expected) in [
            ("write to jane.doe+x@mail.example.org!", "write to [email]!"),
            ("/u/jane%40mail.example/edit", "/u/[email]/edit"),
            ("a@b", "a@b"),
            ("@handle and me@", "@handle and me@"),
            ("card 4111 1111 1111 1111.", "card [card]."),
            ("4111-1111-1111-1112", "4111-1111-1111-1112"),
            ("4111111111111111", "[card]"),
            ("call +49 (30) 1234-5678 now", "call [phone] now"),
            ("/p/1234567890123", "/p/1234567890123"),
            ("378282246310005", "[card]"),
            ("30569309025904", "[card]"),
            ("6011 1111 1111 1117", "[card]"),
            ("2223003122003222", "[card]"),
            ("6200000000000000000", "[card]"),
            ("2720992223003122", "2720992223003122"),
            ("/products/7982301151516", "/products/7982301151516"),
            ("/t/1763733033000002", "/t/1763733033000002"),
            ("/x/4111111111111111ab", "/x/4111111111111111ab"),
            ("order 20261121-103", "order 20261121-103"),
            ("?tel=%2B493012345678", "?tel=[phone]"),
            ("a@b.de, c@d.fr", "[email], [email]"),
            ("ü@x.de jané@x.de", "[email] [email]"),
            ("jane@müller.de", "[email]"),
            ("/u/jane%2Bx%40mail.example/edit", "/u/[email]/edit"),
            ("4111111111111111 12/27", "[card] 12/27"),
            ("4111 1111 1111 1111 123", "[card] 123"),
            ("order 12 4111111111111111", "order 12 [card]"),
            ("4111_1111_1111_1111", "[card]"),
            ("?a=4111+1111+1111+1111&b=2", "?a=[card]&b=2"),
            ("?a=%204111111111111111%20", "?a=%20[card]%20"),
            ("?a=4111%201111%201111%201111&b=2", "?a=[card]&b=2"),
        ] {
            assert_eq!(all(Redaction::Mask).redact(text), expected, "{text}");
        }
    }

    #[test]
    fn a_hash_is_the_same_for_the_same_address_of_a_site() {
        let hashed = all(Redaction::Hash)
            .redact("Jane@Mail.example")
            .into_owned();
        assert!(
            hashed.starts_with("email-") && hashed.len() == 22,
            "{hashed}"
        );
        assert_eq!(hashed, all(Redaction::Hash).redact("jane%40mail.example"));
        let other = Redactions {
            salt: b"another".to_vec(),
            ..all(Redaction::Hash)
        };
        assert_ne!(hashed, other.redact("jane@mail.example"));
    }

    #[test]
    fn an_id_stays_another_than_others_whatever_is_done_to_texts() {
        for redaction in [Redaction::Mask, Redaction::Hash, Redaction::Drop] {
            let [one, two] = ["order-7 jane@mail.example", "order-7 john@mail.example"]
                .map(|id| all(redaction).redact_id(id).into_owned());
            assert!(
                one.starts_with("order-7 email-") && one != two,
                "{one} {two}"
            );
            assert!(!one.contains("jane"));
        }
        assert_eq!(all(Redaction::Mask).redact_id("A-17"), "A-17");
        assert!(!format!("{:?}", all(Redaction::Hash)).contains("secret"));
    }

    #[test]
    fn what_is_dropped_leaves_nothing() {
        let dropping = all(Redaction::Drop);
        assert_eq!(dropping.redact("to jane@mail.example."), "to .");
        assert!(dropping.drops("jane@mail.example") && !dropping.drops("jane"));
        assert!(!all(Redaction::Mask).drops("jane@mail.example"));
        assert!(Redactions::default().are_off() && !dropping.are_off());
    }

    proptest! {
        #[test]
        fn no_text_panics_or_keeps_an_address(before in "\\PC{0,20}", after in "[^a-zA-Z0-9.\\-]?\\PC{0,20}") {
            let text = format!("{before} jane@mail.example {after}");
            for redaction in [Redaction::Mask, Redaction::Hash, Redaction::Drop] {
                prop_assert!(!all(redaction).redact(&text).contains("jane@mail.example"));
            }
            all(Redaction::Mask).redact(&before);
        }
    }
}
