//! The class of a device by its model, where words common to its class don't tell.
//!
//! `models.txt` has beginnings of names of models. It was made from every second fixture of device-detector (of CRC-32 0 in
//! the last bit): the shortest beginnings, of two models or more, that occur in one class only and without which a fixture
//! was read otherwise. The other half tells what it is worth; the test prints both.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use super::super::Hints;
use super::unquoted;

/// Shortest beginning, in bytes.
const MIN_BYTES: usize = 3;

static CLASSES: LazyLock<HashMap<&'static str, &'static str>> = LazyLock::new(|| {
    let lines = include_str!("models.txt").lines();
    lines
        .filter_map(|line| line.split_once(' '))
        .map(|(class, beginning)| (beginning, class))
        .collect()
});

/// The class of the model that a user agent, in lower case, or its hints name.
pub(super) fn class(ua: &str, hints: &Hints) -> Option<&'static str> {
    let model = model(ua, hints)?;
    (MIN_BYTES..=model.len())
        .rev()
        .find_map(|end| CLASSES.get(model.get(..end)?).copied())
}

/// The name of the model, in lower case. Of Android it stands after the system, and after a language if there is one.
fn model<'a>(ua: &'a str, hints: &Hints) -> Option<Cow<'a, str>> {
    let hinted = unquoted(&hints.model);
    if !hinted.is_empty() && hinted != "K" {
        return Some(hinted.to_ascii_lowercase().into());
    }
    let (_, rest) = ua.split_once('(')?;
    let inner = rest.split(')').next().unwrap_or(rest);
    let inner = inner.split(" build").next().unwrap_or(inner);
    let mut parts = inner.split(';').map(str::trim);
    parts.find(|part| part.starts_with("android") || part.starts_with("adr "))?;
    parts.find(|part| !is_no_model(part)).map(Cow::Borrowed)
}

/// Whether it is what else stands there: a language (`de`, `de-de`), a view, a form.
fn is_no_model(part: &str) -> bool {
    let is_language = |part: &str| {
        let (language, place) = part.split_once(['-', '_']).unwrap_or((part, "xx"));
        let letters = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase());
        language.len() == 2 && (2..=4).contains(&place.len()) && letters(language) && letters(place)
    };
    matches!(part, "" | "wv" | "u" | "tablet" | "mobile")
        || part.starts_with("rv:")
        || is_language(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_stands_after_system_and_language_or_in_the_hint() {
        let model_of = |ua: &str, hint: &str| {
            let hints = Hints {
                model: hint.to_owned(),
                ..Hints::default()
            };
            model(ua, &hints).map(Cow::into_owned).unwrap_or_default()
        };
        for (ua, hint, expected) in [
            (
                "mozilla/5.0 (linux; android 13; sm-g991b) applewebkit",
                "",
                "sm-g991b",
            ),
            (
                "mozilla/5.0 (linux; u; android 4.0.3; de-de; gt-p5100 build/x) a",
                "",
                "gt-p5100",
            ),
            (
                "mozilla/5.0 (linux; android 10; k) applewebkit",
                "\"SM-T870\"",
                "sm-t870",
            ),
            (
                "mozilla/5.0 (linux; android 10; k) applewebkit",
                "\"K\"",
                "k",
            ),
            ("mozilla/5.0 (x11; linux x86_64) applewebkit", "", ""),
            ("(android", "", ""),
        ] {
            assert_eq!(model_of(ua, hint), expected, "{ua}");
        }
    }

    #[test]
    fn every_line_is_a_class_and_a_beginning() {
        for line in include_str!("models.txt").lines() {
            let (class, beginning) = line.split_once(' ').unwrap();
            assert!(wakeline_proto::lists::DEVICES.contains(&class), "{line}");
            assert!(beginning.len() >= MIN_BYTES && !beginning.contains(char::is_uppercase));
        }
        assert!(CLASSES.len() > 200);
    }
}
