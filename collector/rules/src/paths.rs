//! Paths of which a site takes nothing.
//!
//! They are compared as a server reads them, without percent escapes: `/%61dmin` is `/admin`. One that begins with neither
//! `/` nor `*` is meant as a screen's name, and as a path without its slash.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::Cleaning;

/// Patterns of paths, in which `*` stands for any characters.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    patterns: Vec<String>,
    cleaning: Cleaning,
    /// As pages compare them with what is in their URL.
    of_pages: Vec<String>,
}

impl Paths {
    /// `cleaning`: what is done to paths before they are compared.
    pub(crate) fn new(paths: &[String], cleaning: &Cleaning) -> Self {
        let of_pages: Vec<String> = paths
            .iter()
            .map(|path| {
                if path.starts_with(['/', '*']) {
                    path.clone()
                } else {
                    format!("/{path}")
                }
            })
            .collect();
        let screens = paths.iter().filter(|path| !path.starts_with(['/', '*']));
        let all = of_pages.iter().chain(screens);
        Self {
            patterns: all.map(|path| cleaning.path(&plain(path))).collect(),
            cleaning: cleaning.clone(),
            of_pages,
        }
    }

    /// Whether one of them is `path`.
    pub(crate) fn have(&self, path: &str) -> bool {
        if self.patterns.is_empty() {
            return false;
        }
        let path = self.cleaning.path(&plain(path));
        let mut patterns = self.patterns.iter();
        patterns.any(|pattern| matches(pattern, &path))
    }

    pub(crate) fn of_pages(&self) -> &[String] {
        &self.of_pages
    }
}

fn plain(path: &str) -> Cow<'_, str> {
    percent_decode_str(path).decode_utf8_lossy()
}

/// Whether `text` is `pattern`, in which `*` stands for any characters. Linear: no pattern makes it slow.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        if let Some(part) = last.replace(part) {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, text, expected) in [
            ("/admin", "/admin", true),
            ("/admin", "/admin/x", false),
            ("/admin*", "/admin/x", true),
            ("*/print", "/a/b/print", true),
            ("/a/*/c", "/a/b/b/c", true),
            ("/a/*/c", "/a/c", false),
            ("*", "", true),
            ("", "/", false),
            ("/a*a", "/a", false),
            ("*ab*ab", "xabab", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_path_is_blocked_however_it_and_the_rule_are_written() {
        let cleaning = Cleaning {
            lower_case_paths: true,
            trim_trailing_slash: true,
            ..Cleaning::default()
        };
        for (blocked, path, plainly, cleaned) in [
            ("admin*", "/admin/x", true, true),
            ("/admin/*", "/%61dmin/x", true, true),
            ("/ü", "/%C3%BC", true, true),
            ("/%C3%BC", "/%c3%bc", true, true),
            ("/a b", "/a%20b", true, true),
            ("Home*", "Home: main", true, true),
            ("Home", "/Home", true, true),
            ("/Admin/", "/admin", false, true),
            ("/admin", "/administration", false, false),
        ] {
            let paths = [blocked.to_owned()];
            for (cleaning, expected) in [(&Cleaning::default(), plainly), (&cleaning, cleaned)] {
                let found = Paths::new(&paths, cleaning).have(path);
                assert_eq!(found, expected, "{blocked} {path} {cleaning:?}");
            }
        }
    }
}
