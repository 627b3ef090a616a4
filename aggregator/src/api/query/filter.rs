//! Filters, as far as they can be answered: conditions on `event:page`.

use serde_json::Value;

use super::QueryError;

/// A condition on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    /// The page is one of these.
    Is(Vec<String>, Case),
    /// The page has one of these in it.
    Contains(Vec<String>, Case),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Sensitive,
    Insensitive,
}

const SUPPORTED: &str = "supported are is, is_not, contains and contains_not on event:page, and and, or and not of them";
/// Filters within filters.
const MAX_DEPTH: usize = 8;
/// Values of all filters of a query.
const MAX_VALUES: usize = 1_000;

impl Filter {
    /// Parses the `filters` of a query: all of them must hold.
    pub(super) fn parse(filters: &[Value]) -> Result<Self, QueryError> {
        let mut values = MAX_VALUES;
        parse_list(filters, 0, &mut values).map(Self::All)
    }

    pub(super) fn matches(&self, page: &str) -> bool {
        match self {
            Self::All(filters) => filters.iter().all(|filter| filter.matches(page)),
            Self::Any(filters) => filters.iter().any(|filter| filter.matches(page)),
            Self::Not(filter) => !filter.matches(page),
            Self::Is(values, case) => {
                let page = case.fold(page);
                values.iter().any(|value| *value == page)
            }
            Self::Contains(values, case) => {
                let page = case.fold(page);
                values.iter().any(|value| page.contains(value.as_str()))
            }
        }
    }

    /// Whether every page matches because nothing is asked for.
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::All(filters) if filters.is_empty())
    }

    /// The page, if the filter is that the page is just this one.
    pub(super) fn single_page(&self) -> Option<&str> {
        match self {
            Self::All(filters) | Self::Any(filters) => match filters.as_slice() {
                [only] => only.single_page(),
                _ => None,
            },
            Self::Is(values, Case::Sensitive) => match values.as_slice() {
                [only] => Some(only),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Case {
    fn fold(self, text: &str) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Sensitive => text.into(),
            Self::Insensitive => text.to_lowercase().into(),
        }
    }
}

fn parse_list(
    filters: &[Value],
    depth: usize,
    values: &mut usize,
) -> Result<Vec<Filter>, QueryError> {
    filters
        .iter()
        .map(|filter| parse_one(filter, depth, values))
        .collect()
}

fn parse_one(filter: &Value, depth: usize, values: &mut usize) -> Result<Filter, QueryError> {
    let refuse = |why: &str| QueryError::new(format!("filters: {filter}: {why}"));
    if depth > MAX_DEPTH {
        return Err(refuse("nested too deeply"));
    }
    let parts = filter.as_array().map(Vec::as_slice);
    let Some([Value::String(operator), rest @ ..]) = parts else {
        return Err(refuse("a filter is a list that begins with its operator"));
    };
    match (operator.as_str(), rest) {
        ("and", [Value::Array(filters)]) if !filters.is_empty() => {
            Ok(Filter::All(parse_list(filters, depth + 1, values)?))
        }
        ("or", [Value::Array(filters)]) if !filters.is_empty() => {
            Ok(Filter::Any(parse_list(filters, depth + 1, values)?))
        }
        ("not", [filter]) => Ok(Filter::Not(Box::new(parse_one(filter, depth + 1, values)?))),
        ("and" | "or", _) => Err(refuse("give one list of filters, with at least one in it")),
        ("not", _) => Err(refuse("give one filter")),
        ("is" | "is_not" | "contains" | "contains_not", [dimension, given, modifiers @ ..]) => {
            if dimension != "event:page" {
                return Err(refuse(&format!(
                    "dimension {dimension} can't be filtered by: {SUPPORTED}"
                )));
            }
            let case = parse_case(modifiers).ok_or_else(|| {
                refuse("after the values only {\"case_sensitive\": true or false} may follow")
            })?;
            let given = parse_values(given, case)
                .ok_or_else(|| refuse("values are a list of at least one text"))?;
            *values = values.checked_sub(given.len()).ok_or_else(|| {
                QueryError::new(format!("filters: more than {MAX_VALUES} values"))
            })?;
            let filter = if operator.starts_with("is") {
                Filter::Is(given, case)
            } else {
                Filter::Contains(given, case)
            };
            Ok(if operator.ends_with("_not") {
                Filter::Not(Box::new(filter))
            } else {
                filter
            })
        }
        _ => Err(refuse(SUPPORTED)),
    }
}

fn parse_case(modifiers: &[Value]) -> Option<Case> {
    match modifiers {
        [] => Some(Case::Sensitive),
        [Value::Object(modifiers)] if modifiers.keys().all(|key| key == "case_sensitive") => {
            match modifiers.get("case_sensitive") {
                None | Some(Value::Bool(true)) => Some(Case::Sensitive),
                Some(Value::Bool(false)) => Some(Case::Insensitive),
                Some(_) => None,
            }
        }
        _ => None,
    }
}

fn parse_values(values: &Value, case: Case) -> Option<Vec<String>> {
    let values = values.as_array().filter(|values| !values.is_empty())?;
    values
        .iter()
        .map(|value| value.as_str().map(|value| case.fold(value).into_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Filter;

    fn parse(filters: Value) -> Result<Filter, String> {
        let Value::Array(filters) = filters else {
            unreachable!("tests give lists")
        };
        Filter::parse(&filters).map_err(|error| error.to_string())
    }

    fn check(filters: Value, pages: &[&str], matching: &[&str]) {
        let filter = parse(filters).unwrap();
        let found: Vec<_> = pages
            .iter()
            .copied()
            .filter(|page| filter.matches(page))
            .collect();
        assert_eq!(found, matching);
    }

    #[test]
    fn operators_choose_the_pages_they_name() {
        let pages = ["/", "/blog", "/blog/One", "/shop"];
        check(json!([]), &pages, &pages);
        check(
            json!([["is", "event:page", ["/", "/shop"]]]),
            &pages,
            &["/", "/shop"],
        );
        check(
            json!([["is_not", "event:page", ["/", "/shop"]]]),
            &pages,
            &["/blog", "/blog/One"],
        );
        check(
            json!([["contains", "event:page", ["/blog"]]]),
            &pages,
            &["/blog", "/blog/One"],
        );
        check(
            json!([["contains_not", "event:page", ["blog", "shop"]]]),
            &pages,
            &["/"],
        );
        check(json!([["is", "event:page", ["/BLOG/one"]]]), &pages, &[]);
        check(
            json!([["is", "event:page", ["/BLOG/one"], {"case_sensitive": false}]]),
            &pages,
            &["/blog/One"],
        );
    }

    #[test]
    fn filters_combine() {
        let pages = ["/a", "/b", "/ab"];
        check(
            json!([
                ["contains", "event:page", ["a"]],
                ["contains", "event:page", ["b"]]
            ]),
            &pages,
            &["/ab"],
        );
        check(
            json!([[
                "or",
                [
                    ["is", "event:page", ["/a"]],
                    ["not", ["contains", "event:page", ["a"]]]
                ]
            ]]),
            &pages,
            &["/a", "/b"],
        );
        check(
            json!([[
                "and",
                [
                    ["contains", "event:page", ["a"]],
                    ["is_not", "event:page", ["/a"]]
                ]
            ]]),
            &pages,
            &["/ab"],
        );
    }

    #[test]
    fn only_a_filter_on_one_page_is_a_single_page() {
        let single = |filters| parse(filters).unwrap().single_page().map(str::to_owned);
        assert_eq!(
            single(json!([["is", "event:page", ["/x"]]])).as_deref(),
            Some("/x")
        );
        assert_eq!(single(json!([["is", "event:page", ["/x", "/y"]]])), None);
        assert_eq!(single(json!([["contains", "event:page", ["/x"]]])), None);
        assert_eq!(single(json!([["not", ["is", "event:page", ["/x"]]]])), None);
        assert_eq!(single(json!([])), None);
    }

    #[test]
    fn what_cannot_be_answered_is_refused_with_its_name() {
        for (filters, named) in [
            (json!([["is", "visit:country", ["DE"]]]), "visit:country"),
            (json!([["matches", "event:page", ["x"]]]), "matches"),
            (
                json!([["has_done", ["is", "event:page", ["/"]]]]),
                "has_done",
            ),
            (json!(["is"]), "operator"),
            (json!([["is", "event:page", []]]), "at least one"),
            (json!([["is", "event:page", [1]]]), "text"),
            (
                json!([["is", "event:page", ["/"], {"fuzzy": true}]]),
                "case_sensitive",
            ),
            (json!([["and", []]]), "at least one"),
            (json!([["not"]]), "one filter"),
        ] {
            let error = parse(filters).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn deep_and_wide_filters_are_refused() {
        let mut filter = json!(["is", "event:page", ["/"]]);
        for _ in 0..50 {
            filter = json!(["not", filter]);
        }
        assert!(parse(json!([filter])).unwrap_err().contains("deeply"));
        let values: Vec<_> = (0..2_000).map(|n| n.to_string()).collect();
        assert!(parse(json!([["is", "event:page", values]])).is_err());
    }
}
