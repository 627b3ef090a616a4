//! What a site gave names to: goals and segments.

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use wakeline_query::{Definitions, Goal, GoalRule, MAX_DEFINED, Segment};

use super::{Control, ControlError, ControlSnapshot};

/// A goal beside those that every event name is by itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SavedGoal {
    /// 1, 2, … over all sites.
    pub id: u64,
    /// Site that it is of.
    pub site: u64,
    /// What answers call it; unique in the site.
    pub name: String,
    /// What reaches it.
    pub rule: GoalRule,
    /// Unix milliseconds.
    pub created_at: i64,
}

/// Filters under a name.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SavedSegment {
    /// 1, 2, … over all sites: what questions call it.
    pub id: u64,
    /// Site that it is of.
    pub site: u64,
    /// What people call it; unique in the site.
    pub name: String,
    /// All of them hold, in the form of a question's.
    #[schema(value_type = Vec<Vec<Value>>)]
    pub filters: Vec<Value>,
    /// Unix milliseconds.
    pub created_at: i64,
}

impl ControlSnapshot {
    /// What a site gave names to, ready to be asked for.
    pub fn definitions(&self, site: u64) -> Definitions {
        // All were checked when they were made; one that a later version wrote may mean nothing to this one.
        let goals = self.goals.iter().filter(|goal| goal.site == site);
        let goals = goals.filter_map(|goal| Goal::new(&goal.name, &goal.rule).ok());
        let segments = self.segments.iter().filter(|segment| segment.site == site);
        let segments =
            segments.filter_map(|saved| Segment::new(saved.id, &saved.name, &saved.filters).ok());
        Definitions {
            goals: goals.collect(),
            segments: segments.collect(),
        }
    }
}

impl Control {
    /// Makes a goal.
    pub fn create_goal(
        &self,
        site: u64,
        name: &str,
        rule: &GoalRule,
    ) -> Result<SavedGoal, ControlError> {
        Goal::new(name, rule).map_err(|error| ControlError::BadDefinition(error.to_string()))?;
        let rule = serde_json::to_string(rule)
            .map_err(|error| ControlError::BadDefinition(error.to_string()))?;
        let id = self.define(
            site,
            name,
            "SELECT count(*), count(*) FILTER (WHERE name = ?2) FROM goals WHERE site = ?1",
            |db| {
                db.execute(
                    "INSERT INTO goals (site, name, rule) VALUES (?1, ?2, ?3)",
                    params![site as i64, name, rule],
                )
            },
        )?;
        let snapshot = self.snapshot();
        let made = snapshot.goals.iter().find(|goal| goal.id == id);
        made.cloned().ok_or(ControlError::NoGoal(id))
    }

    /// Deletes a goal of a site. What was counted is not touched: goals are found in events when they are asked for.
    pub fn delete_goal(&self, site: u64, id: u64) -> Result<(), ControlError> {
        self.change(|db| {
            let delete = "DELETE FROM goals WHERE site = ?1 AND id = ?2";
            match db.execute(delete, params![site as i64, id as i64])? {
                0 => Err(ControlError::NoGoal(id)),
                _ => Ok(()),
            }
        })
    }

    /// Makes a segment.
    pub fn create_segment(
        &self,
        site: u64,
        name: &str,
        filters: &[Value],
    ) -> Result<SavedSegment, ControlError> {
        let bad = |error: &dyn std::fmt::Display| ControlError::BadDefinition(error.to_string());
        Segment::new(0, name, filters).map_err(|error| bad(&error))?;
        let filters = serde_json::to_string(filters).map_err(|error| bad(&error))?;
        let id = self.define(
            site,
            name,
            "SELECT count(*), count(*) FILTER (WHERE name = ?2) FROM segments WHERE site = ?1",
            |db| {
                db.execute(
                    "INSERT INTO segments (site, name, filters) VALUES (?1, ?2, ?3)",
                    params![site as i64, name, filters],
                )
            },
        )?;
        let snapshot = self.snapshot();
        let made = snapshot.segments.iter().find(|segment| segment.id == id);
        made.cloned().ok_or(ControlError::NoSegment(id))
    }

    /// Deletes a segment of a site.
    pub fn delete_segment(&self, site: u64, id: u64) -> Result<(), ControlError> {
        self.change(|db| {
            let delete = "DELETE FROM segments WHERE site = ?1 AND id = ?2";
            match db.execute(delete, params![site as i64, id as i64])? {
                0 => Err(ControlError::NoSegment(id)),
                _ => Ok(()),
            }
        })
    }

    /// Inserts a row if its name is free and there is room; gives its id.
    fn define(
        &self,
        site: u64,
        name: &str,
        count: &str,
        insert: impl FnOnce(&Connection) -> rusqlite::Result<usize>,
    ) -> Result<u64, ControlError> {
        self.site(site)?;
        self.change(|db| {
            let counted = db.query_row(count, params![site as i64, name], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            });
            let (all, of_name) = counted.optional()?.unwrap_or_default();
            if of_name > 0 {
                return Err(ControlError::NameTaken(name.to_owned()));
            }
            if all >= MAX_DEFINED as i64 {
                return Err(ControlError::TooManyDefined(MAX_DEFINED));
            }
            insert(db)?;
            Ok(db.last_insert_rowid() as u64)
        })
    }
}

pub(super) fn load_goals(db: &Connection) -> Result<Vec<SavedGoal>, ControlError> {
    let mut statement =
        db.prepare("SELECT id, site, name, rule, created_at FROM goals ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut goals = Vec::new();
    while let Some(row) = rows.next()? {
        // One that only a later version understands is not there for this one.
        if let Ok(rule) = serde_json::from_str(&row.get::<_, String>(3)?) {
            goals.push(SavedGoal {
                id: row.get::<_, i64>(0)? as u64,
                site: row.get::<_, i64>(1)? as u64,
                name: row.get(2)?,
                rule,
                created_at: row.get(4)?,
            });
        }
    }
    Ok(goals)
}

pub(super) fn load_segments(db: &Connection) -> Result<Vec<SavedSegment>, ControlError> {
    let mut statement =
        db.prepare("SELECT id, site, name, filters, created_at FROM segments ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut segments = Vec::new();
    while let Some(row) = rows.next()? {
        if let Ok(filters) = serde_json::from_str(&row.get::<_, String>(3)?) {
            segments.push(SavedSegment {
                id: row.get::<_, i64>(0)? as u64,
                site: row.get::<_, i64>(1)? as u64,
                name: row.get(2)?,
                filters,
                created_at: row.get(4)?,
            });
        }
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wakeline_query::GoalRule;

    use super::super::{
        ControlError,
        tests::{control, site},
    };

    #[test]
    fn goals_and_segments_are_of_one_site_and_named_once() {
        let (_folder, control) = control();
        let one = control.create_site(&site("a.example")).unwrap().site.id;
        let two = control.create_site(&site("b.example")).unwrap().site.id;
        let rule = GoalRule::Page("/thanks".to_owned());
        let goal = control.create_goal(one, "Thanks", &rule).unwrap();
        let again = control.create_goal(one, "Thanks", &rule);
        assert!(matches!(again, Err(ControlError::NameTaken(_))));
        control.create_goal(two, "Thanks", &rule).unwrap();
        let other = control.delete_goal(two, goal.id);
        assert!(matches!(other, Err(ControlError::NoGoal(_))));
        assert_eq!(control.snapshot().definitions(one).goals.len(), 1);
        control.delete_goal(one, goal.id).unwrap();
        assert!(control.snapshot().definitions(one).goals.is_empty());

        let filters = [json!(["is", "visit:os", ["iOS"]])];
        let segment = control.create_segment(one, "Phones", &filters).unwrap();
        assert_eq!(
            control.snapshot().definitions(one).segments[0].id,
            segment.id
        );
        assert!(control.snapshot().definitions(two).segments.is_empty());
        control.delete_segment(one, segment.id).unwrap();
        let nonsense = control.create_segment(one, "Nothing", &[json!(["is"])]);
        assert!(matches!(nonsense, Err(ControlError::BadDefinition(_))));
    }
}
