//! Filters: conditions on events and on their visits, as questions, segments and goals say them.

mod parse;

use serde_json::{Value, json};

use self::parse::Parser;
use crate::{QueryError, property::Property};

/// A condition. It is asked of one event at a time: two conditions on events hold on the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All of these hold.
    All(Vec<Filter>),
    /// One of these holds.
    Any(Vec<Filter>),
    /// This does not hold.
    Not(Box<Filter>),
    /// This holds for some event of the visit.
    Done(Box<Filter>),
    /// This holds for no event of the visit.
    NotDone(Box<Filter>),
    /// One of the saved segments of these ids holds.
    Segment(Vec<u64>),
    /// A property has a value.
    Test(Test),
}

/// A condition on the value of a property, as answers call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// How it is compared.
    pub operator: Operator,
    /// What is compared.
    pub property: Property,
    /// One of these fits; of negated operators none does.
    pub values: Vec<String>,
    /// Whether upper and lower case differ.
    pub case_sensitive: bool,
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is what its name in the table says")]
pub enum Operator {
    Is,
    IsNot,
    Contains,
    ContainsNot,
    Matches,
    MatchesNot,
}

const OPERATORS: [(&str, Operator); 6] = [
    ("is", Operator::Is),
    ("is_not", Operator::IsNot),
    ("contains", Operator::Contains),
    ("contains_not", Operator::ContainsNot),
    ("matches", Operator::Matches),
    ("matches_not", Operator::MatchesNot),
];

impl Operator {
    /// Its name in questions.
    pub fn name(self) -> &'static str {
        let found = OPERATORS.iter().find(|(_, operator)| *operator == self);
        found.map_or("", |(name, _)| name)
    }

    /// The operator without a "not" in it.
    pub(crate) const fn positive(self) -> Self {
        match self {
            Self::Is | Self::IsNot => Self::Is,
            Self::Contains | Self::ContainsNot => Self::Contains,
            Self::Matches | Self::MatchesNot => Self::Matches,
        }
    }

    pub(crate) fn is_negated(self) -> bool {
        self != self.positive()
    }
}

impl Filter {
    /// Parses the `filters` of a question, all of which must hold.
    pub fn parse_all(filters: &[Value]) -> Result<Vec<Self>, QueryError> {
        Parser::new().list(filters, 0, false)
    }

    /// The filter as questions say it.
    pub fn to_json(&self) -> Value {
        let list = |filters: &[Self]| -> Value { filters.iter().map(Self::to_json).collect() };
        match self {
            Self::All(filters) => json!(["and", list(filters)]),
            Self::Any(filters) => json!(["or", list(filters)]),
            Self::Not(filter) => json!(["not", filter.to_json()]),
            Self::Done(filter) => json!(["has_done", filter.to_json()]),
            Self::NotDone(filter) => json!(["has_not_done", filter.to_json()]),
            Self::Segment(ids) => json!(["is", "segment", ids]),
            Self::Test(test) => {
                let (name, property) = (test.operator.name(), test.property.to_string());
                if test.case_sensitive {
                    json!([name, property, test.values])
                } else {
                    json!([name, property, test.values, {"case_sensitive": false}])
                }
            }
        }
    }

    /// Calls `visit` with every condition in it, those on what the visit has done included.
    pub fn tests(&self, visit: &mut dyn FnMut(&Test)) {
        match self {
            Self::All(filters) | Self::Any(filters) => {
                for filter in filters {
                    filter.tests(visit);
                }
            }
            Self::Not(filter) | Self::Done(filter) | Self::NotDone(filter) => filter.tests(visit),
            Self::Segment(_) => {}
            Self::Test(test) => visit(test),
        }
    }

    /// Whether it has a condition on a property that `wanted` is true for.
    pub(crate) fn speaks_of(&self, wanted: impl Fn(&Property) -> bool) -> bool {
        let mut found = false;
        self.tests(&mut |test| found |= wanted(&test.property));
        found
    }

    /// Whether it asks for what visits have done.
    pub(crate) fn is_of_deeds(&self) -> bool {
        match self {
            Self::All(filters) | Self::Any(filters) => filters.iter().any(Self::is_of_deeds),
            Self::Not(filter) => filter.is_of_deeds(),
            Self::Done(_) | Self::NotDone(_) => true,
            Self::Segment(_) | Self::Test(_) => false,
        }
    }

    /// The segments that it names.
    pub(crate) fn segments(&self, found: &mut Vec<u64>) {
        match self {
            Self::All(filters) | Self::Any(filters) => {
                for filter in filters {
                    filter.segments(found);
                }
            }
            Self::Not(filter) | Self::Done(filter) | Self::NotDone(filter) => {
                filter.segments(found);
            }
            Self::Segment(ids) => found.extend(ids),
            Self::Test(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Filter;

    fn parse(filters: &Value) -> Result<Vec<Filter>, String> {
        let parsed = Filter::parse_all(filters.as_array().unwrap());
        parsed.map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_printed_is_what_was_parsed() {
        let filters = json!([
            ["is", "event:page", ["/", "/shop"]],
            ["matches_not", "visit:source", ["^Goo"], {"case_sensitive": false}],
            ["and", [["or", [["contains", "event:props:plan", ["pro"]]]], ["not", ["is", "event:goal", ["order"]]]]],
            ["has_done", ["is_not", "event:name", ["cart"]]],
            ["has_not_done", ["contains_not", "visit:city_name", ["Ham"]]],
            ["is", "segment", [7, 9]],
        ]);
        let printed: Value = parse(&filters)
            .unwrap()
            .iter()
            .map(Filter::to_json)
            .collect();
        assert_eq!(printed, filters);
    }

    #[test]
    fn filters_that_say_nothing_are_refused_with_themselves_and_the_reason() {
        let deep = (0..9).fold(json!(["is", "event:page", ["/"]]), |inner, _| {
            json!(["not", inner])
        });
        let many = vec!["x"; 1_001];
        for (filter, why) in [
            (json!("is"), "begins with its operator"),
            (json!([]), "begins with its operator"),
            (json!(["equals", "event:page", ["/"]]), "no such operator"),
            (json!(["equals"]), "no such operator"),
            (json!(["is", "event:page"]), "a dimension and a list"),
            (json!(["is", "event:page", []]), "at least one text"),
            (json!(["is", "event:page", "/"]), "at least one text"),
            (json!(["is", "event:page", [1]]), "in quotes"),
            (
                json!(["is", "event:path", ["/"]]),
                "no dimension \"event:path\"",
            ),
            (
                json!(["is", "time:day", ["2026-01-01"]]),
                "choose another date_range",
            ),
            (
                json!(["is_not", "event:goal", ["order"]]),
                "only is and contains",
            ),
            (
                json!(["matches", "event:goal", ["order"]]),
                "only is and contains",
            ),
            (
                json!(["is", "event:page", ["/"], {"case": 1}]),
                "case_sensitive",
            ),
            (
                json!(["is", "event:page", ["/"], {"case_sensitive": 1}]),
                "case_sensitive",
            ),
            (json!(["and", []]), "at least one"),
            (
                json!(["or", ["is", "event:page", ["/"]]]),
                "begins with its operator",
            ),
            (json!(["not"]), "give one filter"),
            (
                json!(["has_done", ["has_done", ["is", "event:page", ["/"]]]]),
                "side by side",
            ),
            (
                json!(["has_done", ["is", "segment", [1]]]),
                "what a visit has done",
            ),
            (json!(["is_not", "segment", [1]]), "of segments only"),
            (json!(["is", "segment", ["x"]]), "are numbers"),
            (
                json!(["matches", "event:page", ["("]]),
                "regular expression",
            ),
            (
                json!(["matches", "event:page", ["(a{1000}){1000}"]]),
                "too large",
            ),
            (json!(["is", "event:page", many]), "more than 1000 values"),
            (deep, "in each other"),
        ] {
            let said = parse(&json!([filter.clone()])).unwrap_err();
            assert!(
                said.starts_with("filters: ") && said.contains(why),
                "{filter}: {said}"
            );
        }
    }
}
