//! The visitor's language: what the client says, else what its browser prefers, in one way of writing (BCP 47, RFC 5646):
//! `de-AT`, `zh-Hant-TW`.

/// Longer ones are no languages.
const MAX_BYTES: usize = 35;

/// The tag in its usual case, without what says more than language, script and region; empty if it is none.
pub(crate) fn normal(tag: &str) -> String {
    let tag = tag.trim();
    if tag.len() > MAX_BYTES {
        return String::new();
    }
    let mut normal = String::new();
    for (at, part) in tag.split(['-', '_']).enumerate() {
        let letters = part.bytes().all(|byte| byte.is_ascii_alphabetic());
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        match (at, part.len()) {
            (0, 2..=3) if letters => normal.push_str(&part.to_ascii_lowercase()),
            (1, 4) if letters => {
                normal.push('-');
                normal.push_str(&part[..1].to_ascii_uppercase());
                normal.push_str(&part[1..].to_ascii_lowercase());
            }
            (1 | 2, 2) if letters => {
                normal.push('-');
                normal.push_str(&part.to_ascii_uppercase());
                break;
            }
            (1 | 2, 3) if digits => {
                normal.push('-');
                normal.push_str(part);
                break;
            }
            _ => break,
        }
    }
    normal
}

/// What `Accept-Language` prefers (RFC 9110, 12.5.4); of what it likes as much the first.
pub(crate) fn preferred(header: &str) -> &str {
    let mut best = ("", 0.0);
    for entry in header.split(',').take(32) {
        let mut parts = entry.split(';');
        let tag = parts.next().unwrap_or_default().trim();
        let weight = parts.find_map(|part| part.trim().strip_prefix("q="));
        let weight = weight.map_or(1.0, |weight| weight.trim().parse().unwrap_or(0.0_f32));
        if weight > best.1 && tag != "*" {
            best = (tag, weight);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_language_is_written_in_one_way() {
        for (tag, expected) in [
            ("de", "de"),
            ("DE_at", "de-AT"),
            ("zh-hant-tw", "zh-Hant-TW"),
            ("es-419", "es-419"),
            ("en-US-x-private", "en-US"),
            ("sl-rozaj", "sl"),
            ("*", ""),
            ("", ""),
            ("english", ""),
            ("ü-DE", ""),
        ] {
            assert_eq!(normal(tag), expected, "{tag}");
        }
    }

    #[test]
    fn of_several_the_one_that_is_liked_most_counts() {
        for (header, expected) in [
            ("de-DE,de;q=0.9,en;q=0.8", "de-DE"),
            ("en;q=0.5, fr", "fr"),
            ("*, da;q=0.3", "da"),
            ("en;q=0", ""),
            ("", ""),
        ] {
            assert_eq!(preferred(header), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_said_is_a_short_tag_or_nothing(text in "\\PC{0,40}") {
            let tag = normal(preferred(&text));
            prop_assert!(tag.len() <= 11 && tag.is_ascii(), "{tag}");
            prop_assert_eq!(normal(&tag), tag);
        }
    }
}
