//! Filters as JSON.

use serde_json::Value;

use super::{Filter, OPERATORS, Operator, Test};
use crate::{
    QueryError,
    property::{self, Property},
};

/// Filters within filters.
const MAX_DEPTH: usize = 8;
/// Conditions of all filters of a question.
const MAX_FILTERS: usize = 200;
/// Values of all filters of a question.
const MAX_VALUES: usize = 1_000;
/// Bytes of a value.
const MAX_VALUE: usize = 2_000;

/// Reads filters, as many as a question may have.
pub(super) struct Parser {
    /// Filters that may still come.
    filters: usize,
    /// Values that may still come.
    values: usize,
}

impl Parser {
    pub(super) const fn new() -> Self {
        Self {
            filters: MAX_FILTERS,
            values: MAX_VALUES,
        }
    }

    pub(super) fn list(
        &mut self,
        filters: &[Value],
        depth: usize,
        done: bool,
    ) -> Result<Vec<Filter>, QueryError> {
        filters
            .iter()
            .map(|filter| self.one(filter, depth, done))
            .collect()
    }

    /// `done`: within what a visit has done.
    fn one(&mut self, filter: &Value, depth: usize, done: bool) -> Result<Filter, QueryError> {
        let refuse = |why: &str| QueryError::new(format!("filters: {}: {why}", shortened(filter)));
        if depth > MAX_DEPTH {
            return Err(refuse(&format!(
                "more than {MAX_DEPTH} filters in each other"
            )));
        }
        self.filters = self
            .filters
            .checked_sub(1)
            .ok_or_else(|| QueryError::new(format!("filters: more than {MAX_FILTERS}")))?;
        let parts = filter.as_array().map(Vec::as_slice);
        let Some([Value::String(operator), rest @ ..]) = parts else {
            return Err(refuse("a filter is a list that begins with its operator"));
        };
        match (operator.as_str(), rest) {
            ("and", [Value::Array(filters)]) if !filters.is_empty() => {
                Ok(Filter::All(self.list(filters, depth + 1, done)?))
            }
            ("or", [Value::Array(filters)]) if !filters.is_empty() => {
                Ok(Filter::Any(self.list(filters, depth + 1, done)?))
            }
            ("not", [filter]) => Ok(Filter::Not(Box::new(self.one(filter, depth + 1, done)?))),
            ("has_done" | "has_not_done", [_]) if done => Err(refuse(
                "what a visit has done can't be asked of what it has done: put the two side by side",
            )),
            ("has_done", [filter]) => {
                Ok(Filter::Done(Box::new(self.one(filter, depth + 1, true)?)))
            }
            ("has_not_done", [filter]) => Ok(Filter::NotDone(Box::new(self.one(
                filter,
                depth + 1,
                true,
            )?))),
            ("and" | "or", _) => Err(refuse("give one list of filters, with at least one in it")),
            ("not" | "has_done" | "has_not_done", _) => Err(refuse("give one filter")),
            (name, [Value::String(dimension), given, modifiers @ ..]) => {
                let Some((_, operator)) = OPERATORS.iter().find(|(known, _)| *known == name) else {
                    return Err(refuse(&unknown_operator()));
                };
                if dimension == "segment" {
                    return self.segment(*operator, given, modifiers, done, &refuse);
                }
                let case_sensitive = parse_case(modifiers).ok_or_else(|| {
                    refuse("after the values only {\"case_sensitive\": true or false} may follow")
                })?;
                let test = Test {
                    operator: *operator,
                    property: parse_property(dimension).map_err(|why| refuse(&why))?,
                    values: self.values(given, &refuse)?,
                    case_sensitive,
                };
                check(&test).map_err(|why| refuse(&why))?;
                Ok(Filter::Test(test))
            }
            (name, _) if OPERATORS.iter().any(|(known, _)| *known == name) => {
                Err(refuse("give a dimension and a list of values"))
            }
            _ => Err(refuse(&unknown_operator())),
        }
    }

    fn segment(
        &mut self,
        operator: Operator,
        given: &Value,
        modifiers: &[Value],
        done: bool,
        refuse: &dyn Fn(&str) -> QueryError,
    ) -> Result<Filter, QueryError> {
        if operator != Operator::Is || !modifiers.is_empty() {
            return Err(refuse(
                "of segments only [\"is\", \"segment\", [id, …]] can be asked, or [\"not\", …] of it",
            ));
        }
        if done {
            return Err(refuse("a segment can't be what a visit has done"));
        }
        let ids = given.as_array().filter(|ids| !ids.is_empty());
        let ids: Option<Vec<u64>> = ids.and_then(|ids| {
            let id = |id: &Value| id.as_u64().or_else(|| id.as_str()?.parse().ok());
            ids.iter().map(id).collect()
        });
        let ids =
            ids.ok_or_else(|| refuse("segments are named by their ids, which are numbers"))?;
        self.take_values(ids.len())?;
        Ok(Filter::Segment(ids))
    }

    fn values(
        &mut self,
        given: &Value,
        refuse: &dyn Fn(&str) -> QueryError,
    ) -> Result<Vec<String>, QueryError> {
        let values = given.as_array().filter(|values| !values.is_empty());
        let values = values.ok_or_else(|| refuse("values are a list of at least one text"))?;
        self.take_values(values.len())?;
        values
            .iter()
            .map(|value| match value {
                Value::String(text) if text.len() > MAX_VALUE => {
                    Err(refuse(&format!("a value has more than {MAX_VALUE} bytes")))
                }
                Value::String(text) => Ok(text.clone()),
                _ => Err(refuse("values are texts, in quotes")),
            })
            .collect()
    }

    fn take_values(&mut self, count: usize) -> Result<(), QueryError> {
        self.values = self
            .values
            .checked_sub(count)
            .ok_or_else(|| QueryError::new(format!("filters: more than {MAX_VALUES} values")))?;
        Ok(())
    }
}

fn unknown_operator() -> String {
    let names: Vec<&str> = OPERATORS.iter().map(|(name, _)| *name).collect();
    format!(
        "there is no such operator; there are {}, and and, or, not, has_done, has_not_done",
        names.join(", ")
    )
}

fn parse_property(dimension: &str) -> Result<Property, String> {
    if dimension.starts_with("time") {
        return Err("time can't be filtered: choose another date_range".to_owned());
    }
    Property::find(dimension).ok_or_else(|| {
        format!(
            "there is no dimension {dimension:?}; there are {}, and segment",
            property::names()
        )
    })
}

/// Refuses what no value can be compared by.
fn check(test: &Test) -> Result<(), String> {
    let goes = matches!(test.operator, Operator::Is | Operator::Contains);
    if test.property == Property::Goal && !goes {
        return Err(
            "event:goal takes only is and contains: an event may reach several goals; put [\"not\", …] around it"
                .to_owned(),
        );
    }
    if test.operator.positive() == Operator::Matches {
        for value in &test.values {
            crate::matcher::regex(value, test.case_sensitive)
                .map_err(|why| format!("{value:?} can't be used as a regular expression: {why}"))?;
        }
    }
    Ok(())
}

fn parse_case(modifiers: &[Value]) -> Option<bool> {
    match modifiers {
        [] => Some(true),
        [Value::Object(modifiers)] if modifiers.keys().all(|key| key == "case_sensitive") => {
            match modifiers.get("case_sensitive") {
                None => Some(true),
                Some(given) => given.as_bool(),
            }
        }
        _ => None,
    }
}

/// A filter as its error quotes it.
fn shortened(filter: &Value) -> String {
    const MOST: usize = 200;
    let text = filter.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
