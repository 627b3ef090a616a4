//! How the schemas of a site's events change: each follows the last one of its event, and breaks with it only if somebody
//! insists.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use wakeline_proto::schema::{Schema, canonical};

use super::{Control, ControlError, SavedRules, SchemaMode, SchemaRule, SiteRules};

/// A schema of an event, as it was from some version of the rules on.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SchemaVersion {
    /// The event's name.
    pub event: String,
    /// 1, 2, … of this event's schemas.
    pub number: u64,
    /// The version of the rules that brought it.
    pub version: u64,
    /// Unix milliseconds.
    pub created_at: i64,
    /// Name of the token with which it was made, or `command line`; empty: not known.
    pub changed_by: String,
    /// What becomes of events that don't fit; none: from here on there is no schema.
    pub mode: Option<SchemaMode>,
    /// JSON Schema of the object of properties; none: from here on there is no schema.
    #[schema(value_type = Option<Object>)]
    pub schema: Option<Value>,
}

/// All that breaks with the last schema of its event, each as `KEY: what`. `history`: of the rules, the newest first.
pub(super) fn breaks(rules: &SiteRules, history: &[SavedRules]) -> Vec<String> {
    let mut broken = Vec::new();
    for (at, next) in rules.schemas.iter().enumerate() {
        let mut versions = history.iter();
        let last = versions.find_map(|saved| {
            let rule = of_event(&saved.rules, &next.event)?;
            Some((saved.version, rule))
        });
        let Some((version, last)) = last else {
            continue;
        };
        let parse = |rule: &SchemaRule| Schema::parse(&rule.schema.to_string());
        // One that this version can't read held nothing back.
        if let (Ok(last), Ok(next)) = (parse(last), parse(next)) {
            let of_schema = last.breaks(&next);
            broken.extend(of_schema.into_iter().map(|what| {
                format!("schemas[{at}].schema.{what} (since version {version} of the rules)")
            }));
        }
    }
    broken
}

fn of_event<'a>(rules: &'a SiteRules, event: &str) -> Option<&'a SchemaRule> {
    rules.schemas.iter().find(|rule| rule.event == event)
}

impl Control {
    /// The schemas that events of a site have had: by name of the event, the newest first.
    pub fn schema_versions(&self, site: u64) -> Result<Vec<SchemaVersion>, ControlError> {
        let mut history = self.rules_history(site)?;
        history.reverse();
        let mut all: Vec<SchemaVersion> = Vec::new();
        let mut newest: HashMap<String, usize> = HashMap::new();
        for saved in &history {
            let gone = newest
                .keys()
                .filter(|event| of_event(&saved.rules, event).is_none())
                .map(|event| (event.clone(), None));
            let there = saved
                .rules
                .schemas
                .iter()
                .map(|rule| (rule.event.clone(), Some(rule)));
            let found: Vec<_> = there.chain(gone).collect();
            for (event, rule) in found {
                let last = newest.get(&event).and_then(|at| all.get(*at));
                let same = last.is_some_and(|last| {
                    last.mode == rule.map(|rule| rule.mode)
                        && last.schema.as_ref().map(canonical)
                            == rule.map(|rule| canonical(&rule.schema))
                });
                if same {
                    continue;
                }
                let number = last.map_or(0, |last| last.number) + 1;
                newest.insert(event.clone(), all.len());
                all.push(SchemaVersion {
                    event,
                    number,
                    version: saved.version,
                    created_at: saved.created_at,
                    changed_by: saved.changed_by.clone(),
                    mode: rule.map(|rule| rule.mode),
                    schema: rule.map(|rule| rule.schema.clone()),
                });
            }
        }
        all.sort_by(|one, other| {
            let newest_first = other.number.cmp(&one.number);
            one.event.cmp(&other.event).then(newest_first)
        });
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{control, site};
    use super::*;

    fn rules(schemas: &Value) -> SiteRules {
        serde_json::from_value(json!({ "schemas": schemas })).unwrap()
    }

    #[test]
    fn a_schema_that_breaks_with_the_last_one_is_saved_only_if_somebody_insists() {
        let (_folder, control) = control();
        let id = control.create_site(&site("a.example")).unwrap().site.id;
        let set = |schemas: Value, force| control.set_rules(id, &rules(&schemas), None, "x", force);
        let signup = |schema: Value| json!([{"event": "signup", "mode": "warn", "schema": schema}]);
        set(
            signup(json!({"properties": {"plan": {"enum": ["a", "b"]}}})),
            false,
        )
        .unwrap();
        let wider = signup(json!({"properties": {"plan": {"enum": ["a", "b", "c"]}, "n": {}}}));
        set(wider, false).unwrap();
        // Switched off in between, it is still the last one.
        set(json!([]), false).unwrap();
        let narrow = || signup(json!({"properties": {"plan": {"enum": ["a", "b"]}, "n": {}}}));
        let refused = set(narrow(), false).unwrap_err();
        assert!(
            matches!(&refused, ControlError::BreakingSchemas(what)
                if what[0].starts_with("schemas[0].schema.properties.plan.enum: \"c\" is gone (since version 2")),
            "{refused}"
        );
        assert_eq!(control.snapshot().rules(id).version, 3);
        set(narrow(), true).unwrap();
        set(narrow(), false).unwrap();

        let versions = control.schema_versions(id).unwrap();
        let seen: Vec<_> = versions
            .iter()
            .map(|one| (one.number, one.version, one.schema.is_some()))
            .collect();
        assert_eq!(
            seen,
            [(4, 4, true), (3, 3, false), (2, 2, true), (1, 1, true)]
        );
    }

    #[test]
    fn another_mode_is_another_version_and_breaks_nothing() {
        let (_folder, control) = control();
        let id = control.create_site(&site("a.example")).unwrap().site.id;
        for mode in ["warn", "reject"] {
            let schemas = json!([{"event": "e", "mode": mode, "schema": {"required": ["a"]}}]);
            control
                .set_rules(id, &rules(&schemas), None, "x", false)
                .unwrap();
        }
        assert_eq!(control.schema_versions(id).unwrap().len(), 2);
    }
}
