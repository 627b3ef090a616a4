//! Filters, as far as they can be answered: conditions on one property.

use serde_json::Value;

use super::{
    QueryError,
    property::{self, Property},
};

/// A condition on the value of a property, as answers call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    /// It is one of these.
    Is(Vec<String>, Case),
    /// It has one of these in it.
    Contains(Vec<String>, Case),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Sensitive,
    Insensitive,
}

const SUPPORTED: &str = "supported are is, is_not, contains and contains_not on one dimension, and and, or and not of them";
/// Filters within filters.
const MAX_DEPTH: usize = 8;
/// Values of all filters of a query.
const MAX_VALUES: usize = 1_000;

impl Filter {
    /// Parses the `filters` of a query: all of them must hold. With them comes the property that they are about.
    pub(super) fn parse(filters: &[Value]) -> Result<(Self, Option<Property>), QueryError> {
        let mut parser = Parser {
            values: MAX_VALUES,
            property: None,
        };
        let filters = parser.list(filters, 0)?;
        Ok((Self::All(filters), parser.property))
    }

    pub(super) fn matches(&self, label: &str) -> bool {
        match self {
            Self::All(filters) => filters.iter().all(|filter| filter.matches(label)),
            Self::Any(filters) => filters.iter().any(|filter| filter.matches(label)),
            Self::Not(filter) => !filter.matches(label),
            Self::Is(values, case) => {
                let label = case.fold(label);
                values.iter().any(|value| *value == label)
            }
            Self::Contains(values, case) => {
                let label = case.fold(label);
                values.iter().any(|value| label.contains(value.as_str()))
            }
        }
    }

    /// The value, if the filter is that it is just this one.
    pub(super) fn single(&self) -> Option<&str> {
        match self {
            Self::All(filters) | Self::Any(filters) => match filters.as_slice() {
                [only] => only.single(),
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

struct Parser {
    /// Values that may still come.
    values: usize,
    /// What the filters so far are about.
    property: Option<Property>,
}

impl Parser {
    fn list(&mut self, filters: &[Value], depth: usize) -> Result<Vec<Filter>, QueryError> {
        filters
            .iter()
            .map(|filter| self.one(filter, depth))
            .collect()
    }

    fn one(&mut self, filter: &Value, depth: usize) -> Result<Filter, QueryError> {
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
                Ok(Filter::All(self.list(filters, depth + 1)?))
            }
            ("or", [Value::Array(filters)]) if !filters.is_empty() => {
                Ok(Filter::Any(self.list(filters, depth + 1)?))
            }
            ("not", [filter]) => Ok(Filter::Not(Box::new(self.one(filter, depth + 1)?))),
            ("and" | "or", _) => Err(refuse("give one list of filters, with at least one in it")),
            ("not", _) => Err(refuse("give one filter")),
            ("is" | "is_not" | "contains" | "contains_not", [dimension, given, modifiers @ ..]) => {
                self.take_property(dimension, operator)
                    .map_err(|why| refuse(&why))?;
                let case = parse_case(modifiers).ok_or_else(|| {
                    refuse("after the values only {\"case_sensitive\": true or false} may follow")
                })?;
                let given = parse_values(given, case)
                    .ok_or_else(|| refuse("values are a list of at least one text"))?;
                self.values = self.values.checked_sub(given.len()).ok_or_else(|| {
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

    /// All filters of a query are about one property.
    fn take_property(&mut self, dimension: &Value, operator: &str) -> Result<(), String> {
        let property = dimension.as_str().and_then(Property::find);
        let property = property.ok_or_else(|| {
            let names = property::names();
            format!("dimension {dimension} can't be filtered by; supported are {names}")
        })?;
        if property.name == "event:goal" && operator.ends_with("_not") {
            return Err("event:goal takes only is and contains".to_owned());
        }
        match self.property {
            Some(other) if other.dimension != property.dimension => {
                Err(property::one_only(other, property))
            }
            _ => {
                self.property = Some(property);
                Ok(())
            }
        }
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
        let parsed = Filter::parse(&filters).map_err(|error| error.to_string());
        parsed.map(|(filter, _)| filter)
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
    fn filters_tell_the_property_that_they_are_about() {
        let property = |filters: Value| {
            let (_, property) = Filter::parse(filters.as_array().unwrap()).unwrap();
            property.map(|property| property.name)
        };
        assert_eq!(property(json!([])), None);
        let nested = json!([["not", ["is", "visit:source", ["Direct / None"]]]]);
        assert_eq!(property(nested), Some("visit:source"));
    }

    #[test]
    fn only_a_filter_on_one_value_is_single() {
        let single = |filters| parse(filters).unwrap().single().map(str::to_owned);
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
            (json!([["is", "visit:city", ["Rome"]]]), "visit:city"),
            (json!([["is", 1, ["Rome"]]]), "dimension 1"),
            (
                json!([["is", "visit:country", ["DE"]], ["is", "event:page", ["/"]]]),
                "visit:country and event:page",
            ),
            (
                json!([["is_not", "event:goal", ["order"]]]),
                "only is and contains",
            ),
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
