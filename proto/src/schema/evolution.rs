//! Whether a schema may follow another: whatever fitted the old one has to fit the new one, and what it named has to be
//! there still, so that whoever sends, and whoever reads what was sent, need not change.
//!
//! To name a property that was free before is an addition, though from then on it has to fit.

use serde_json::Value;

use super::{Property, Schema};

impl Schema {
    /// What of `next` breaks with this schema, each as `PATH: what`, such as `properties.plan.enum: "b" is gone`. Empty: it
    /// only adds.
    pub fn breaks(&self, next: &Self) -> Vec<String> {
        let mut broken = Vec::new();
        for name in &next.required {
            if !self.required.contains(name) {
                broken.push(format!("required: {name:?} was not required before"));
            }
        }
        if next.closed && !self.closed {
            broken.push("additionalProperties: others were allowed before".to_owned());
        }
        for (name, old) in &self.properties {
            let Some(new) = next.properties.get(name) else {
                broken.push(format!("properties.{name}: it is gone"));
                continue;
            };
            let of_property = old.breaks(new);
            broken.extend(of_property.map(|what| format!("properties.{name}.{what}")));
        }
        broken
    }
}

impl Property {
    /// As [`Schema::breaks`], of what a property's value may be.
    fn breaks(&self, next: &Self) -> impl Iterator<Item = String> {
        let mut broken = Vec::new();
        if let Some(values) = &self.values {
            // Only these were allowed: of all else that the new one says nothing matters.
            let gone = values
                .iter()
                .filter(|value| self.check(value).is_ok() && next.check(value).is_err());
            broken.extend(gone.map(|value| format!("enum: {value} is gone")));
            return broken.into_iter();
        }
        if next.values.is_some() {
            broken.push("enum: any value was allowed before".to_owned());
        }
        if self.types.is_empty() && !next.types.is_empty() {
            broken.push("type: any was allowed before".to_owned());
        }
        let allows = |name: &String| {
            let is = |other: &str| next.types.iter().any(|kind| kind == other);
            next.types.is_empty() || is(name) || name == "integer" && is("number")
        };
        let gone = self.types.iter().filter(|name| !allows(name));
        broken.extend(gone.map(|name| format!("type: {name:?} is gone")));
        let may_be = |kinds: &[&str]| {
            self.types.is_empty() || self.types.iter().any(|name| kinds.contains(&name.as_str()))
        };
        if may_be(&["number", "integer"]) {
            broken.extend(self.narrower_range(next));
        }
        if may_be(&["string"]) {
            broken.extend(self.narrower_length(next));
        }
        broken.into_iter()
    }

    fn narrower_range(&self, next: &Self) -> impl Iterator<Item = String> {
        let least = |bound: f64| self.minimum.is_some_and(|old| old >= bound);
        let most = |bound: f64| self.maximum.is_some_and(|old| old <= bound);
        let above = |bound: f64| self.above.is_some_and(|old| old >= bound);
        let below = |bound: f64| self.below.is_some_and(|old| old <= bound);
        let said = |keyword: &str, bound: Option<f64>, held: bool| {
            let bound = bound.filter(|_| !held)?;
            Some(format!("{keyword}: {bound} is narrower than before"))
        };
        let held = |bound: Option<f64>, by: &dyn Fn(f64) -> bool| bound.is_some_and(by);
        [
            said(
                "minimum",
                next.minimum,
                held(next.minimum, &|n| least(n) || above(n)),
            ),
            said(
                "maximum",
                next.maximum,
                held(next.maximum, &|n| most(n) || below(n)),
            ),
            said(
                "exclusiveMinimum",
                next.above,
                held(next.above, &|n| {
                    above(n) || self.minimum.is_some_and(|old| old > n)
                }),
            ),
            said(
                "exclusiveMaximum",
                next.below,
                held(next.below, &|n| {
                    below(n) || self.maximum.is_some_and(|old| old < n)
                }),
            ),
        ]
        .into_iter()
        .flatten()
    }

    fn narrower_length(&self, next: &Self) -> impl Iterator<Item = String> {
        let shortest = next
            .min_length
            .filter(|bound| self.min_length.is_none_or(|old| old < *bound));
        let longest = next
            .max_length
            .filter(|bound| self.max_length.is_none_or(|old| old > *bound));
        let said = |keyword: &str, bound: Option<u64>| {
            bound.map(|bound| format!("{keyword}: {bound} is narrower than before"))
        };
        [said("minLength", shortest), said("maxLength", longest)]
            .into_iter()
            .flatten()
    }
}

/// The text of a schema with its object's names in one order, to tell whether two are the same.
pub fn canonical(schema: &Value) -> String {
    match schema {
        Value::Object(members) => {
            let mut pairs: Vec<_> = members
                .iter()
                .map(|(name, value)| format!("{name:?}:{}", canonical(value)))
                .collect();
            pairs.sort_unstable();
            format!("{{{}}}", pairs.join(","))
        }
        Value::Array(list) => {
            let list: Vec<_> = list.iter().map(canonical).collect();
            format!("[{}]", list.join(","))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;

    fn breaks(old: &Value, new: &Value) -> Vec<String> {
        let parse = |schema: &Value| Schema::parse(&schema.to_string()).unwrap();
        parse(old).breaks(&parse(new))
    }

    #[test]
    fn additions_break_nothing() {
        let old = json!({"required": ["plan"], "properties": {"plan": {"enum": ["a", "b"]}, "n": {"type": "integer", "minimum": 1}}});
        for new in [
            old.clone(),
            json!({"properties": {"plan": {"enum": ["c", "a", "b"]}, "n": {"type": "number"}, "new": {"type": "string"}}}),
            json!({"required": ["plan"], "properties": {"plan": {"type": "string", "maxLength": 1}, "n": {"exclusiveMinimum": 0}}}),
        ] {
            assert_eq!(breaks(&old, &new), Vec::<String>::new(), "{new}");
        }
    }

    #[test]
    fn what_is_taken_away_or_narrowed_is_said_with_its_path() {
        let old = json!({"properties": {"plan": {"enum": ["a", "b"]}, "n": {"type": ["number", "null"], "minimum": 1}, "t": {"maxLength": 9}}});
        for (new, path) in [
            (
                json!({"properties": {"plans": {"enum": ["a", "b"]}, "n": {}, "t": {}}}),
                "properties.plan: ",
            ),
            (
                json!({"properties": {"plan": {"enum": ["a"]}, "n": {}, "t": {}}}),
                "properties.plan.enum: \"b\"",
            ),
            (
                json!({"properties": {"plan": {"type": "integer"}, "n": {}, "t": {}}}),
                "properties.plan.enum: \"a\"",
            ),
            (
                json!({"properties": {"plan": {}, "n": {"type": "integer"}, "t": {}}}),
                "properties.n.type: \"number\"",
            ),
            (
                json!({"properties": {"plan": {}, "n": {"minimum": 2}, "t": {}}}),
                "properties.n.minimum: 2",
            ),
            (
                json!({"properties": {"plan": {}, "n": {"exclusiveMinimum": 1}, "t": {}}}),
                "properties.n.exclusiveMinimum: 1",
            ),
            (
                json!({"properties": {"plan": {}, "n": {"maximum": 5}, "t": {}}}),
                "properties.n.maximum: 5",
            ),
            (
                json!({"properties": {"plan": {}, "n": {}, "t": {"maxLength": 8}}}),
                "properties.t.maxLength: 8",
            ),
            (
                json!({"properties": {"plan": {}, "n": {}, "t": {"minLength": 1}}}),
                "properties.t.minLength: 1",
            ),
            (
                json!({"properties": {"plan": {}, "n": {}, "t": {"const": "x"}}}),
                "properties.t.enum: ",
            ),
            (
                json!({"required": ["t"], "properties": {"plan": {}, "n": {}, "t": {}}}),
                "required: \"t\"",
            ),
            (
                json!({"additionalProperties": false, "properties": {"plan": {}, "n": {}, "t": {}}}),
                "additionalProperties: ",
            ),
        ] {
            let broken = breaks(&old, &new);
            assert!(
                broken.iter().any(|what| what.starts_with(path)),
                "{path} {broken:?}"
            );
        }
    }

    #[test]
    fn schemas_are_the_same_however_they_are_written() {
        let one =
            json!({"required": ["a"], "properties": {"a": {"type": "string", "maxLength": 3}}});
        let other =
            json!({"properties": {"a": {"maxLength": 3, "type": "string"}}, "required": ["a"]});
        assert_eq!(canonical(&one), canonical(&other));
        assert_ne!(canonical(&one), canonical(&json!({"required": ["b"]})));
    }

    fn property() -> impl Strategy<Value = Value> {
        let bound = || proptest::option::of(0..4_i64);
        let types = proptest::option::of(prop::sample::subsequence(
            vec!["string", "integer", "number", "boolean"],
            1..3,
        ));
        let values = proptest::option::of(prop::collection::vec(value(), 1..3));
        (
            types,
            values,
            bound(),
            bound(),
            bound(),
            bound(),
            bound(),
            bound(),
        )
            .prop_map(
                |(types, values, minimum, maximum, above, below, shortest, longest)| {
                    let mut schema = Map::new();
                    let mut put = |name: &str, value: Option<Value>| {
                        value.map(|value| schema.insert(name.to_owned(), value));
                    };
                    put("type", types.map(|types| json!(types)));
                    put("enum", values.map(|values| json!(values)));
                    put("minimum", minimum.map(Into::into));
                    put("maximum", maximum.map(Into::into));
                    put("exclusiveMinimum", above.map(Into::into));
                    put("exclusiveMaximum", below.map(Into::into));
                    put("minLength", shortest.map(Into::into));
                    put("maxLength", longest.map(Into::into));
                    schema.into()
                },
            )
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            (0..5_i64).prop_map(Value::from),
            (0..10_i64).prop_map(|half| json!(half as f64 / 2.0)),
            "[ab]{0,4}".prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
        ]
    }

    proptest! {
        /// What fits a schema fits each that follows it.
        #[test]
        fn nothing_that_fitted_is_refused_by_what_only_adds(old in property(), new in property(), required: bool, value in value()) {
            let schema = |property: &Value, required: bool| {
                let required: &[&str] = if required { &["p"] } else { &[] };
                let text = json!({"required": required, "properties": {"p": property}}).to_string();
                Schema::parse(&text).unwrap()
            };
            let (old, new) = (schema(&old, true), schema(&new, required));
            prop_assert_eq!(old.breaks(&old), Vec::<String>::new());
            let properties = Map::from_iter([("p".to_owned(), value)]);
            if old.breaks(&new).is_empty() && old.check(&properties).is_ok() {
                prop_assert_eq!(new.check(&properties), Ok(()));
            }
        }
    }
}
