//! What an event's properties must be: the part of JSON Schema (draft 2020-12,
//! <https://json-schema.org/draft/2020-12/json-schema-validation>) that flat objects of scalars need.
//!
//! Keywords: `type`, `required`, `properties`, `additionalProperties` (`true` or `false`) of the object; `type`, `enum`,
//! `const`, `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`, `minLength`, `maxLength` of a property; everywhere
//! `$schema`, `$id`, `$comment`, `title`, `description`, `default`, `examples`, which say nothing. Any other keyword makes
//! the schema unusable, so that none is silently not obeyed. No network, no recursion, no patterns: a schema costs what it
//! has properties.

mod evolution;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

pub use evolution::canonical;

/// Properties that a schema may name.
pub const MAX_PROPERTIES: usize = crate::limits::MAX_PROPERTIES;
/// Bytes of a schema's text.
pub const MAX_SCHEMA_BYTES: usize = 16 << 10;

const ANNOTATIONS: [&str; 7] = [
    "$schema",
    "$id",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
];
const TYPES: [&str; 7] = [
    "string", "integer", "number", "boolean", "null", "object", "array",
];

/// Why a schema can't be used.
#[derive(Debug, PartialEq, Eq)]
pub struct SchemaError(String);

impl std::fmt::Display for SchemaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SchemaError {}

/// A schema of an object of scalars.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schema {
    required: Vec<String>,
    properties: BTreeMap<String, Property>,
    /// No property may be there that is not named.
    closed: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Property {
    types: Vec<String>,
    values: Option<Vec<Value>>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    above: Option<f64>,
    below: Option<f64>,
    min_length: Option<u64>,
    max_length: Option<u64>,
}

impl Schema {
    /// Reads a schema.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        if text.len() > MAX_SCHEMA_BYTES {
            return Err(SchemaError(format!(
                "the schema has {} bytes, the limit is {MAX_SCHEMA_BYTES}",
                text.len()
            )));
        }
        let value: Value = serde_json::from_str(text)
            .map_err(|error| SchemaError(format!("the schema is not JSON: {error}")))?;
        let object = value
            .as_object()
            .ok_or_else(|| SchemaError("a schema is an object".to_owned()))?;
        let mut schema = Self::default();
        for (keyword, value) in object {
            let wrong = |what: &str| SchemaError(format!("{keyword} {what}"));
            match keyword.as_str() {
                "type" if value == "object" => {}
                "type" => return Err(wrong("must be \"object\": properties are one")),
                "required" => {
                    schema.required =
                        texts(value).ok_or_else(|| wrong("must be a list of names"))?;
                }
                "additionalProperties" => {
                    schema.closed = !value
                        .as_bool()
                        .ok_or_else(|| wrong("must be true or false"))?;
                }
                "properties" => {
                    let all = value
                        .as_object()
                        .ok_or_else(|| wrong("must be an object"))?;
                    if all.len() > MAX_PROPERTIES {
                        return Err(wrong("are too many"));
                    }
                    for (name, value) in all {
                        let property = Property::parse(value)
                            .map_err(|error| SchemaError(format!("{name}: {error}")))?;
                        schema.properties.insert(name.clone(), property);
                    }
                }
                other if ANNOTATIONS.contains(&other) => {}
                _ => return Err(wrong("is not a keyword that is known here")),
            }
        }
        Ok(schema)
    }

    /// What is wrong with `properties`, if anything is.
    pub fn check(&self, properties: &Map<String, Value>) -> Result<(), String> {
        if let Some(missing) = self
            .required
            .iter()
            .find(|name| !properties.contains_key(*name))
        {
            return Err(format!("{missing:?} is required"));
        }
        for (name, value) in properties {
            match self.properties.get(name) {
                Some(property) => property
                    .check(value)
                    .map_err(|what| format!("{name:?} {what}"))?,
                None if self.closed => return Err(format!("{name:?} is not expected")),
                None => {}
            }
        }
        Ok(())
    }
}

impl Property {
    fn parse(value: &Value) -> Result<Self, SchemaError> {
        let object = value
            .as_object()
            .ok_or_else(|| SchemaError("a schema is an object".to_owned()))?;
        let mut property = Self::default();
        for (keyword, value) in object {
            let wrong = |what: &str| SchemaError(format!("{keyword} {what}"));
            let number = || {
                value
                    .as_f64()
                    .map(Some)
                    .ok_or_else(|| wrong("must be a number"))
            };
            let length = || {
                value
                    .as_u64()
                    .map(Some)
                    .ok_or_else(|| wrong("must be an integer from 0"))
            };
            match keyword.as_str() {
                "type" => {
                    let names = value
                        .as_str()
                        .map(|name| vec![name.to_owned()])
                        .or_else(|| texts(value));
                    let known = names
                        .filter(|names| names.iter().all(|name| TYPES.contains(&name.as_str())));
                    property.types = known
                        .ok_or_else(|| wrong("must be one of JSON's types, or a list of them"))?;
                }
                "enum" => {
                    property.values = Some(
                        value
                            .as_array()
                            .cloned()
                            .ok_or_else(|| wrong("must be a list"))?,
                    );
                }
                "const" => property.values = Some(vec![value.clone()]),
                "minimum" => property.minimum = number()?,
                "maximum" => property.maximum = number()?,
                "exclusiveMinimum" => property.above = number()?,
                "exclusiveMaximum" => property.below = number()?,
                "minLength" => property.min_length = length()?,
                "maxLength" => property.max_length = length()?,
                other if ANNOTATIONS.contains(&other) => {}
                _ => return Err(wrong("is not a keyword that is known here")),
            }
        }
        Ok(property)
    }

    fn check(&self, value: &Value) -> Result<(), String> {
        if !self.types.is_empty() && !self.types.iter().any(|name| is_of_type(value, name)) {
            return Err(format!("is not of type {}", self.types.join(" or ")));
        }
        if self
            .values
            .as_ref()
            .is_some_and(|values| !values.iter().any(|one| is_equal(one, value)))
        {
            return Err("is none of the values that are allowed".to_owned());
        }
        if let Some(number) = value.as_f64() {
            let outside = self.minimum.is_some_and(|least| number < least)
                || self.maximum.is_some_and(|most| number > most)
                || self.above.is_some_and(|bound| number <= bound)
                || self.below.is_some_and(|bound| number >= bound);
            if outside {
                return Err("is out of its range".to_owned());
            }
        }
        if let Some(text) = value.as_str() {
            let length = text.chars().count() as u64;
            if self.min_length.is_some_and(|least| length < least)
                || self.max_length.is_some_and(|most| length > most)
            {
                return Err("is too short or too long".to_owned());
            }
        }
        Ok(())
    }
}

/// Numbers are compared by value: 1 is 1.0. Integers that a double can't tell apart are told apart.
fn is_equal(one: &Value, other: &Value) -> bool {
    if one.is_f64() == other.is_f64() {
        return one == other;
    }
    one.as_f64() == other.as_f64()
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "string" => value.is_string(),
        // A number without a fraction is an integer, however it is written.
        "integer" => {
            value.is_i64()
                || value.is_u64()
                || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "object" => value.is_object(),
        _ => value.is_array(),
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value
        .as_array()?
        .iter()
        .map(|one| one.as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schema: &str, properties: &str) -> Result<(), String> {
        let schema = Schema::parse(schema).map_err(|error| error.to_string())?;
        let properties: Map<String, Value> = serde_json::from_str(properties).unwrap();
        schema.check(&properties)
    }

    #[test]
    fn properties_are_held_against_their_schema() {
        let schema = r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","title":"A seat","type":"object","required":["plan"],
            "properties":{"plan":{"enum":["a","b"]},"seats":{"type":"integer","minimum":1,"exclusiveMaximum":9},"note":{"type":["string","null"],"maxLength":3}}}"#;
        for (properties, wrong) in [
            (r#"{"plan":"a"}"#, None),
            (r#"{"plan":"a","seats":8,"note":"äöü","else":[1]}"#, None),
            (r#"{"plan":"a","seats":2.0}"#, None),
            ("{}", Some("plan")),
            (r#"{"plan":"c"}"#, Some("plan")),
            (r#"{"plan":"a","seats":0}"#, Some("seats")),
            (r#"{"plan":"a","seats":9}"#, Some("seats")),
            (r#"{"plan":"a","seats":1.5}"#, Some("seats")),
            (r#"{"plan":"a","seats":"2"}"#, Some("seats")),
            (r#"{"plan":"a","note":"long"}"#, Some("note")),
        ] {
            let found = check(schema, properties);
            match wrong {
                None => assert_eq!(found, Ok(()), "{properties}"),
                Some(name) => assert!(
                    found.as_ref().is_err_and(|what| what.contains(name)),
                    "{properties}: {found:?}"
                ),
            }
        }
        assert!(
            check(
                r#"{"additionalProperties":false,"properties":{"a":{}}}"#,
                r#"{"b":1}"#
            )
            .is_err()
        );
        assert_eq!(
            check(r#"{"properties":{"a":{"const":true}}}"#, r#"{"a":true}"#),
            Ok(())
        );
    }

    #[test]
    fn numbers_of_enum_and_const_are_compared_by_value() {
        for (allowed, value, fits) in [
            ("1", "1.0", true),
            ("1.0", "1", true),
            ("1e2", "100", true),
            ("-0.0", "0", true),
            ("0.1", "0", false),
            ("1", "true", false),
            ("1", "\"1\"", false),
            ("9007199254740993", "9007199254740992", false),
        ] {
            for keyword in [
                format!("\"const\":{allowed}"),
                format!("\"enum\":[null,{allowed}]"),
            ] {
                let schema = format!("{{\"properties\":{{\"a\":{{{keyword}}}}}}}");
                let found = check(&schema, &format!("{{\"a\":{value}}}"));
                assert_eq!(found.is_ok(), fits, "{allowed} {value}");
            }
        }
    }

    #[test]
    fn a_schema_that_would_not_be_obeyed_is_refused() {
        for schema in [
            "",
            "[]",
            r#"{"type":"array"}"#,
            r#"{"allOf":[]}"#,
            r#"{"required":"a"}"#,
            r#"{"properties":{"a":{"pattern":"x"}}}"#,
            r#"{"properties":{"a":{"type":"text"}}}"#,
            r#"{"properties":{"a":{"minimum":"1"}}}"#,
            r#"{"properties":{"a":7}}"#,
            r#"{"$ref":"https://else.example/"}"#,
        ] {
            assert!(Schema::parse(schema).is_err(), "{schema}");
        }
        assert!(Schema::parse(&" ".repeat(MAX_SCHEMA_BYTES + 1)).is_err());
    }
}
