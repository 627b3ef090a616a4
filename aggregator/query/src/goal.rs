//! What a site gave a name to: goals and segments.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{
    QueryError,
    filter::{Filter, Operator, Test},
    property::Property,
};

/// Characters of a name.
const MAX_NAME: usize = 120;
/// Goals, and segments, of a site.
pub const MAX_DEFINED: usize = 200;

/// What reaches a goal. Every event also reaches the goal of its own name, unless another goal was given that name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GoalRule {
    /// Events of this name: a type such as `order`, or the name of custom events.
    Event(String),
    /// Views of pages with this path; `*` stands for any characters but `/`, `**` for any.
    #[schema(example = "/thank-you*")]
    Page(String),
    /// Events that fit this filter, in the form of a question's; what the visit has done may be part of it.
    #[schema(value_type = Vec<Value>, example = json!(["and", [["is", "event:name", ["order"]], ["is", "visit:channel", ["Email"]]]]))]
    Filter(Value),
}

/// A goal, ready to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// What answers call it.
    pub name: String,
    /// Which events reach it.
    pub filter: Filter,
}

/// A segment, ready to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What filters call it.
    pub id: u64,
    /// All of these hold.
    pub filters: Vec<Filter>,
}

/// What a site gave names to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definitions {
    /// Its goals beside the names of events.
    pub goals: Vec<Goal>,
    /// Its saved segments.
    pub segments: Vec<Segment>,
}

impl Goal {
    /// Checks what a goal is to be.
    pub fn new(name: &str, rule: &GoalRule) -> Result<Self, QueryError> {
        check_name(name)?;
        let test = |operator, property, value| {
            Filter::Test(Test {
                operator,
                property,
                values: vec![value],
                case_sensitive: true,
            })
        };
        let filter = match rule {
            GoalRule::Event(event) => {
                if event.is_empty() || event.chars().count() > MAX_NAME {
                    return Err(QueryError::new(format!(
                        "event: give the name of an event, of at most {MAX_NAME} characters"
                    )));
                }
                test(Operator::Is, Property::Name, event.clone())
            }
            GoalRule::Page(pattern) => {
                if !pattern.starts_with(['/', '*']) {
                    return Err(QueryError::new(
                        "page: give a path that begins with / or *, such as /thank-you*",
                    ));
                }
                let regex = page_regex(pattern);
                crate::matcher::regex(&regex, true)
                    .map_err(|why| QueryError::new(format!("page: {why}")))?;
                Filter::All(vec![
                    Filter::Any(vec![
                        test(Operator::Is, Property::Name, "pageview".to_owned()),
                        test(Operator::Is, Property::Name, "screen_view".to_owned()),
                    ]),
                    test(Operator::Matches, Property::Page, regex),
                ])
            }
            GoalRule::Filter(filter) => {
                let mut parsed = Filter::parse_all(std::slice::from_ref(filter))?;
                let filter = parsed.pop().unwrap_or(Filter::All(Vec::new()));
                let mut segments = Vec::new();
                filter.segments(&mut segments);
                if !segments.is_empty() || filter.speaks_of(|property| *property == Property::Goal)
                {
                    return Err(QueryError::new(
                        "filter: a goal can't be made of goals or segments: give what they are made of",
                    ));
                }
                filter
            }
        };
        Ok(Self {
            name: name.to_owned(),
            filter,
        })
    }
}

impl Segment {
    /// Checks what a segment is to be: `filters` in the form of a question's.
    pub fn new(id: u64, name: &str, filters: &[Value]) -> Result<Self, QueryError> {
        check_name(name)?;
        if filters.is_empty() {
            return Err(QueryError::new("filters: give at least one"));
        }
        let filters = Filter::parse_all(filters)?;
        let mut others = Vec::new();
        for filter in &filters {
            filter.segments(&mut others);
        }
        if !others.is_empty() {
            return Err(QueryError::new(
                "filters: a segment can't be made of segments: give what they are made of",
            ));
        }
        Ok(Self { id, filters })
    }
}

impl Definitions {
    /// What must hold, with what its segments stand for in their place.
    pub fn filters(&self, filters: &[Filter]) -> Result<Filter, QueryError> {
        let expanded = filters.iter().map(|filter| self.expand(filter));
        Ok(Filter::All(expanded.collect::<Result<_, _>>()?))
    }

    /// The filter with what its segments stand for in their place.
    fn expand(&self, filter: &Filter) -> Result<Filter, QueryError> {
        let list = |filters: &[Filter]| -> Result<Vec<Filter>, QueryError> {
            filters.iter().map(|filter| self.expand(filter)).collect()
        };
        Ok(match filter {
            Filter::All(filters) => Filter::All(list(filters)?),
            Filter::Any(filters) => Filter::Any(list(filters)?),
            Filter::Not(filter) => Filter::Not(Box::new(self.expand(filter)?)),
            Filter::Segment(ids) => {
                let one = |id: &u64| {
                    let found = self.segments.iter().find(|segment| segment.id == *id);
                    let found = found.ok_or_else(|| {
                        QueryError::new(format!("filters: the site has no segment {id}"))
                    })?;
                    Ok(Filter::All(found.filters.clone()))
                };
                Filter::Any(ids.iter().map(one).collect::<Result<_, QueryError>>()?)
            }
            Filter::Done(_) | Filter::NotDone(_) | Filter::Test(_) => filter.clone(),
        })
    }
}

fn check_name(name: &str) -> Result<(), QueryError> {
    let length = name.chars().count();
    if !(1..=MAX_NAME).contains(&length)
        || name.trim() != name
        || name.chars().any(char::is_control)
    {
        return Err(QueryError::new(format!(
            "name: give 1 to {MAX_NAME} characters, without space around them"
        )));
    }
    Ok(())
}

/// A pattern of paths as a regular expression.
fn page_regex(pattern: &str) -> String {
    let mut regex = String::from("^");
    let mut rest = pattern;
    while !rest.is_empty() {
        let star = rest.find('*').unwrap_or(rest.len());
        let (text, from_star) = rest.split_at(star);
        regex.push_str(&regex::escape(text));
        rest = if let Some(after) = from_star.strip_prefix("**") {
            regex.push_str(".*");
            after
        } else if let Some(after) = from_star.strip_prefix('*') {
            regex.push_str("[^/]*");
            after
        } else {
            from_star
        };
    }
    regex.push('$');
    regex
}

/// A goal's rule as `KIND: what it says`.
pub fn describe(rule: &GoalRule) -> Value {
    match rule {
        GoalRule::Event(event) => json!({ "event": event }),
        GoalRule::Page(pattern) => json!({ "page": pattern }),
        GoalRule::Filter(filter) => json!({ "filter": filter }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Definitions, Goal, GoalRule, Segment, page_regex};
    use crate::filter::Filter;

    #[test]
    fn a_star_of_a_page_is_any_text_without_a_slash_and_two_are_any_text() {
        assert_eq!(page_regex("/a.b"), r"^/a\.b$");
        assert_eq!(page_regex("/*/thanks**"), "^/[^/]*/thanks.*$");
        assert_eq!(page_regex("**"), "^.*$");
    }

    #[test]
    fn goals_and_segments_that_mean_nothing_are_refused() {
        let goal =
            |name: &str, rule: GoalRule| Goal::new(name, &rule).map_err(|error| error.to_string());
        let of_goal = json!(["is", "event:goal", ["order"]]);
        let of_segment = json!(["is", "segment", [1]]);
        for (name, rule, why) in [
            ("", GoalRule::Event("a".to_owned()), "name: "),
            (" a", GoalRule::Event("a".to_owned()), "name: "),
            ("a", GoalRule::Event(String::new()), "event: "),
            ("a", GoalRule::Page("thanks".to_owned()), "page: "),
            ("a", GoalRule::Filter(json!([])), "filters: "),
            ("a", GoalRule::Filter(of_goal), "of goals or segments"),
            (
                "a",
                GoalRule::Filter(of_segment.clone()),
                "of goals or segments",
            ),
        ] {
            let said = goal(name, rule).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        let segment = |filters: serde_json::Value| {
            Segment::new(1, "a", filters.as_array().unwrap()).map_err(|error| error.to_string())
        };
        assert!(segment(json!([])).is_err());
        assert!(segment(json!([of_segment])).is_err());
    }

    #[test]
    fn segments_are_put_in_the_place_of_their_ids() {
        let filters = json!([["is", "visit:os", ["iOS"]]]);
        let filters = filters.as_array().unwrap();
        let definitions = Definitions {
            goals: Vec::new(),
            segments: vec![Segment::new(3, "phones", filters).unwrap()],
        };
        let os = Filter::parse_all(filters).unwrap();
        let asked = Filter::Not(Box::new(Filter::Segment(vec![3])));
        let meant = Filter::Not(Box::new(Filter::Any(vec![Filter::All(os)])));
        assert_eq!(definitions.expand(&asked).unwrap(), meant);
        let error = definitions.expand(&Filter::Segment(vec![4])).unwrap_err();
        assert!(error.to_string().contains("no segment 4"));
    }
}
