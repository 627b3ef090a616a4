//! Conditions on texts, made ready to be asked often.

use std::borrow::Cow;

use regex::{Regex, RegexBuilder};

use crate::filter::{Operator, Test};

/// Characters of a regular expression.
const MAX_PATTERN: usize = 1_000;
/// Bytes that a regular expression may take when it is ready, and again for what it remembers while it searches.
const MAX_REGEX: usize = 1 << 20;

/// A condition on a text.
#[derive(Clone, Debug)]
pub(crate) struct Matcher {
    kind: Kind,
    case_sensitive: bool,
    negated: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    Is(Vec<String>),
    Contains(Vec<String>),
    Matches(Vec<Regex>),
}

impl Matcher {
    pub(crate) fn new(test: &Test) -> Self {
        let fold = |value: &String| fold(value, test.case_sensitive).into_owned();
        let values = || test.values.iter().map(fold).collect();
        // Those that can't be used were refused when the filter was parsed.
        let regexes = || {
            let regexes = test.values.iter();
            regexes
                .filter_map(|value| regex(value, test.case_sensitive).ok())
                .collect()
        };
        Self {
            kind: match test.operator.positive() {
                Operator::Contains => Kind::Contains(values()),
                Operator::Matches => Kind::Matches(regexes()),
                _ => Kind::Is(values()),
            },
            case_sensitive: test.case_sensitive,
            negated: test.operator.is_negated(),
        }
    }

    pub(crate) fn matches(&self, label: &str) -> bool {
        let folded = || fold(label, self.case_sensitive);
        let fits = match &self.kind {
            Kind::Is(values) => {
                let label = folded();
                values.iter().any(|value| *value == label)
            }
            Kind::Contains(values) => {
                let label = folded();
                values.iter().any(|value| label.contains(value.as_str()))
            }
            Kind::Matches(regexes) => regexes.iter().any(|regex| regex.is_match(label)),
        };
        fits != self.negated
    }
}

fn fold(text: &str, case_sensitive: bool) -> Cow<'_, str> {
    if case_sensitive {
        text.into()
    } else {
        text.to_lowercase().into()
    }
}

/// A regular expression as RE2 has them: searching takes time in proportion to the text, whatever the expression is.
pub(crate) fn regex(pattern: &str, case_sensitive: bool) -> Result<Regex, String> {
    if pattern.chars().count() > MAX_PATTERN {
        return Err(format!("it has more than {MAX_PATTERN} characters"));
    }
    let made = RegexBuilder::new(pattern)
        .case_insensitive(!case_sensitive)
        .size_limit(MAX_REGEX)
        .dfa_size_limit(MAX_REGEX)
        .nest_limit(50)
        .build();
    made.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "it becomes too large: repeat less in it".to_owned(),
        other => {
            let said = other.to_string();
            let last = said.lines().next_back().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{Matcher, regex};
    use crate::filter::Filter;

    fn check(filter: &Value, matching: &[&str]) {
        let parsed = Filter::parse_all(std::slice::from_ref(filter)).unwrap();
        let [Filter::Test(test)] = parsed.as_slice() else {
            unreachable!("it is one test")
        };
        let matcher = Matcher::new(test);
        let pages = ["/", "/blog", "/blog/One", "/shop"].into_iter();
        let found: Vec<_> = pages.filter(|page| matcher.matches(page)).collect();
        assert_eq!(found, matching, "{filter}");
    }

    #[test]
    fn operators_choose_the_pages_they_name() {
        check(
            &json!(["is", "event:page", ["/", "/shop"]]),
            &["/", "/shop"],
        );
        check(
            &json!(["is_not", "event:page", ["/", "/shop"]]),
            &["/blog", "/blog/One"],
        );
        check(
            &json!(["contains", "event:page", ["/blog"]]),
            &["/blog", "/blog/One"],
        );
        check(
            &json!(["contains_not", "event:page", ["blog", "shop"]]),
            &["/"],
        );
        check(&json!(["is", "event:page", ["/BLOG/one"]]), &[]);
        check(
            &json!(["is", "event:page", ["/BLOG/one"], {"case_sensitive": false}]),
            &["/blog/One"],
        );
        check(
            &json!(["matches", "event:page", ["^/[bs]", "One$"]]),
            &["/blog", "/blog/One", "/shop"],
        );
        check(
            &json!(["matches_not", "event:page", ["O"], {"case_sensitive": false}]),
            &["/"],
        );
    }

    proptest! {
        #[test]
        fn any_pattern_is_refused_or_used_but_never_panics(pattern in ".{0,40}", text in ".{0,40}") {
            if let Ok(regex) = regex(&pattern, false) {
                let _ = regex.is_match(&text);
            }
        }
    }
}
