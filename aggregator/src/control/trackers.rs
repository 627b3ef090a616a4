//! What other trackers' clients need of a site: the names that they know it by, and the salts of its visitors.
//!
//! Clients without an id of their own are told apart by a keyed hash of address and browser. Its salt is drawn anew each
//! day at 04:00 of the site's time, and deleted 48 h after its day: then nobody can tell whose hash it was.

use std::{collections::HashMap, fmt, str::FromStr};

use jiff::{Timestamp, ToSpan as _, civil::Time, tz::TimeZone};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Serialize, Serializer};
use wakeline_proto::TRACKERS;

use super::{Control, ControlError, InvalidSetting, Site};

/// Characters of an id.
const MAX_ID: usize = 256;
/// Its clients know a site by its domain, without an alias.
const DOMAIN_TRACKER: &str = "plausible";
/// When a new salt holds, of the site's local time.
const TURN: Time = Time::constant(4, 0, 0, 0);
/// A day of at most 25 hours, and the 48 that a salt outlives it, in ms.
const KEPT_MS: i64 = (25 + 48) * 60 * 60 * 1000;

/// A name that another tracker's client has for a site, written `TRACKER:ID`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Alias {
    /// One of [`TRACKERS`].
    pub tracker: String,
    /// Domain, website id, token, measurement id, …, as the client sends it.
    pub id: String,
}

impl FromStr for Alias {
    type Err = InvalidSetting;

    fn from_str(given: &str) -> Result<Self, InvalidSetting> {
        let (tracker, id) = given.split_once(':').unwrap_or_default();
        let fits = |id: &str| {
            (1..=MAX_ID).contains(&id.chars().count())
                && !id.chars().any(|c| c.is_control() || c.is_whitespace())
        };
        if !TRACKERS.contains(&tracker) || !fits(id) {
            return Err(InvalidSetting::Alias(given.to_owned()));
        }
        Ok(Self {
            tracker: tracker.to_owned(),
            id: id.to_owned(),
        })
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.tracker, self.id)
    }
}

impl Serialize for Alias {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Alias {
    /// Whether it means the site by its domain.
    pub fn is_domain_of(&self, site: &Site) -> bool {
        self.tracker == DOMAIN_TRACKER && self.id == site.domain
    }

    /// The domain that it means, if its tracker's clients know a site by that.
    fn as_domain(&self) -> Option<String> {
        (self.tracker == DOMAIN_TRACKER).then(|| self.id.to_ascii_lowercase())
    }
}

/// Refuses a domain that another site is known by to clients which name a site by its domain.
pub(super) fn check_domain(
    db: &Connection,
    domain: &str,
    site: Option<u64>,
) -> Result<(), ControlError> {
    let mut statement =
        db.prepare("SELECT site FROM aliases WHERE tracker = ?1 AND lower(id) = ?2")?;
    let mut rows = statement.query(params![DOMAIN_TRACKER, domain])?;
    while let Some(row) = rows.next()? {
        if Some(row.get::<_, i64>(0)? as u64) != site {
            return Err(ControlError::DomainIsAlias(domain.to_owned()));
        }
    }
    Ok(())
}

/// A secret of one day that a site's visitors without an id are hashed with.
#[derive(Clone)]
pub struct Salt {
    /// Holds from here on until the next one does, in Unix milliseconds.
    pub from: i64,
    /// 32 random bytes.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Salt({})", self.from)
    }
}

/// The secret that hashes of a site's redacted values are made with: without it nobody can find out by trying which
/// address a hash is of.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RedactionSalt(Vec<u8>);

impl RedactionSalt {
    /// For collectors.
    pub(crate) fn to_bytes(&self) -> bytes::Bytes {
        self.0.clone().into()
    }
}

impl fmt::Debug for RedactionSalt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedactionSalt(…)")
    }
}

/// Draws a site's [`RedactionSalt`].
pub(super) fn draw_redaction_salt(db: &Connection, site: u64) -> Result<(), ControlError> {
    let mut salt = [0_u8; 32];
    getrandom::fill(&mut salt).map_err(ControlError::Random)?;
    db.execute(
        "INSERT INTO redaction_salts (site, salt) VALUES (?1, ?2)",
        params![site as i64, salt],
    )?;
    Ok(())
}

pub(super) fn load_redaction_salts(
    db: &Connection,
) -> Result<HashMap<u64, RedactionSalt>, ControlError> {
    let mut statement = db.prepare("SELECT site, salt FROM redaction_salts")?;
    let salts = statement.query_map([], |row| {
        Ok((row.get::<_, i64>(0)? as u64, RedactionSalt(row.get(1)?)))
    })?;
    Ok(salts.collect::<Result<_, _>>()?)
}

impl Control {
    /// Gives a site names and takes names from it: all that is asked for, or nothing.
    pub fn change_aliases(
        &self,
        site: u64,
        add: &[Alias],
        remove: &[Alias],
    ) -> Result<(), ControlError> {
        self.site(site)?;
        self.change(|db| {
            for alias in remove {
                let removed = db.execute(
                    "DELETE FROM aliases WHERE tracker = ?1 AND id = ?2 AND site = ?3",
                    params![alias.tracker, alias.id, site as i64],
                )?;
                if removed == 0 {
                    return Err(ControlError::NoAlias(alias.clone()));
                }
            }
            for alias in add {
                let of_domain = match alias.as_domain() {
                    Some(domain) => super::site_of_domain(db, &domain)?,
                    None => None,
                };
                if of_domain.is_some_and(|other| other != site) {
                    return Err(ControlError::AliasIsDomain(alias.clone()));
                }
                let holder: Option<i64> = db
                    .query_row(
                        "SELECT site FROM aliases WHERE tracker = ?1 AND id = ?2",
                        params![alias.tracker, alias.id],
                        |row| row.get(0),
                    )
                    .optional()?;
                match holder {
                    Some(holder) if holder as u64 != site => {
                        return Err(ControlError::AliasTaken(alias.clone()));
                    }
                    Some(_) => {}
                    None => {
                        db.execute(
                            "INSERT INTO aliases (tracker, id, site) VALUES (?1, ?2, ?3)",
                            params![alias.tracker, alias.id, site as i64],
                        )?;
                    }
                }
            }
            Ok(())
        })
    }

    /// Draws the salts of this day and of the next one where they are missing, and deletes those whose time is over.
    /// `now` in Unix milliseconds. To be called at least every few hours.
    pub fn turn_salts(&self, now: i64) -> Result<(), ControlError> {
        let snapshot = self.snapshot();
        let due = snapshot.sites.iter().any(|site| {
            let has = |from| site.salts.iter().any(|salt| salt.from == from);
            !days(now, &site.tz).into_iter().all(has)
                || site.salts.iter().any(|salt| salt.from + KEPT_MS < now)
        });
        if !due {
            return Ok(());
        }
        self.change(|db| {
            db.execute("DELETE FROM salts WHERE starts_at < ?1", [now - KEPT_MS])?;
            let mut sites = snapshot.sites.iter();
            sites.try_for_each(|site| draw(db, site.id, now, &site.tz))
        })
    }
}

/// The salts of a site that was just made.
pub(super) fn first_salts(db: &Connection, site: u64, tz: &TimeZone) -> Result<(), ControlError> {
    let made = "SELECT created_at FROM sites WHERE id = ?1";
    let now: i64 = db.query_row(made, [site as i64], |row| row.get(0))?;
    draw(db, site, now, tz)
}

fn draw(db: &Connection, site: u64, now: i64, tz: &TimeZone) -> Result<(), ControlError> {
    for from in days(now, tz) {
        let mut salt = [0_u8; 32];
        getrandom::fill(&mut salt).map_err(ControlError::Random)?;
        db.execute(
            "INSERT OR IGNORE INTO salts (site, starts_at, salt) VALUES (?1, ?2, ?3)",
            params![site as i64, from, salt],
        )?;
    }
    Ok(())
}

/// When the salts of the day that `now` is in, and of the next one, begin to hold.
fn days(now: i64, tz: &TimeZone) -> Vec<i64> {
    let Ok(now) = Timestamp::from_millisecond(now) else {
        return Vec::new();
    };
    let local = tz.to_datetime(now);
    let mut first = local.date();
    if local.time() < TURN {
        first = first.saturating_sub(1.day());
    }
    [first, first.saturating_add(1.day())]
        .into_iter()
        .filter_map(|day| {
            let turn = tz.to_ambiguous_timestamp(day.to_datetime(TURN));
            Some(turn.compatible().ok()?.as_millisecond())
        })
        .collect()
}

pub(super) fn load_aliases(db: &Connection) -> Result<HashMap<u64, Vec<Alias>>, ControlError> {
    let mut aliases: HashMap<u64, Vec<Alias>> = HashMap::new();
    let mut statement = db.prepare("SELECT site, tracker, id FROM aliases ORDER BY tracker, id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let alias = Alias {
            tracker: row.get(1)?,
            id: row.get(2)?,
        };
        let site = row.get::<_, i64>(0)? as u64;
        aliases.entry(site).or_default().push(alias);
    }
    Ok(aliases)
}

pub(super) fn load_salts(db: &Connection) -> Result<HashMap<u64, Vec<Salt>>, ControlError> {
    let mut salts: HashMap<u64, Vec<Salt>> = HashMap::new();
    let mut statement = db.prepare("SELECT site, starts_at, salt FROM salts ORDER BY starts_at")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let salt = Salt {
            from: row.get(1)?,
            bytes: row.get(2)?,
        };
        let site = row.get::<_, i64>(0)? as u64;
        salts.entry(site).or_default().push(salt);
    }
    Ok(salts)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{control, site};
    use super::*;

    const HOUR: i64 = 3_600_000;
    /// 2026-01-10 12:00 UTC.
    const NOON: i64 = 1_768_046_400_000;

    #[test]
    fn an_alias_is_a_known_tracker_and_an_id() {
        for good in ["plausible:shop.example", "segment:a:b", "matomo:1"] {
            assert_eq!(good.parse::<Alias>().unwrap().to_string(), good);
        }
        for bad in ["", "plausible", "plausible:", "unheard:1", "ga4:a b", ":x"] {
            assert!(bad.parse::<Alias>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_belongs_to_one_site_until_it_is_taken_from_it() {
        let (_folder, control) = control();
        let one = control.create_site(&site("a.example")).unwrap().site.id;
        let two = control.create_site(&site("b.example")).unwrap().site.id;
        let alias: Alias = "ga4:G-1".parse().unwrap();
        let list = std::slice::from_ref(&alias);
        control.change_aliases(one, list, &[]).unwrap();
        control.change_aliases(one, list, &[]).unwrap();
        assert!(matches!(
            control.change_aliases(two, list, &[]),
            Err(ControlError::AliasTaken(_))
        ));
        assert_eq!(control.snapshot().site(one).unwrap().aliases, list);
        control.change_aliases(one, &[], list).unwrap();
        control.change_aliases(two, list, &[]).unwrap();
        assert_eq!(control.snapshot().site(two).unwrap().aliases, list);
    }

    #[test]
    fn what_a_client_calls_a_site_by_its_domain_is_no_other_sites_name() {
        let (_folder, control) = control();
        let one = control.create_site(&site("a.example")).unwrap().site.id;
        let two = control.create_site(&site("b.example")).unwrap().site.id;
        let alias = |text: &str| [text.parse::<Alias>().unwrap()];
        for taken in ["plausible:b.example", "plausible:B.Example"] {
            assert!(matches!(
                control.change_aliases(one, &alias(taken), &[]),
                Err(ControlError::AliasIsDomain(_))
            ));
        }
        // Its own is none too many, and other trackers' names may read like a domain.
        control
            .change_aliases(one, &alias("plausible:a.example"), &[])
            .unwrap();
        control
            .change_aliases(one, &alias("segment:b.example"), &[])
            .unwrap();
        control
            .change_aliases(one, &alias("plausible:New.example"), &[])
            .unwrap();
        let new = "new.example".parse().unwrap();
        assert!(matches!(
            control.create_site(&site("new.example")),
            Err(ControlError::DomainIsAlias(_))
        ));
        assert!(matches!(
            control.update_site(two, Some(&new), None),
            Err(ControlError::DomainIsAlias(_))
        ));
        control.update_site(one, Some(&new), None).unwrap();
    }

    #[test]
    fn a_name_that_a_site_does_not_have_cannot_be_taken_from_it() {
        let (_folder, control) = control();
        let id = control.create_site(&site("a.example")).unwrap().site.id;
        let alias = |text: &str| [text.parse::<Alias>().unwrap()];
        let version = control.snapshot().version;
        let refused = control.change_aliases(id, &alias("ga4:G-1"), &alias("ga4:G-2"));
        assert!(matches!(refused, Err(ControlError::NoAlias(_))));
        assert_eq!(control.snapshot().version, version, "nothing was changed");
    }

    #[test]
    fn salts_turn_at_four_of_the_sites_time_and_are_gone_two_days_after() {
        let (_folder, control) = control();
        let id = control.create_site(&site("a.example")).unwrap().site.id;
        let salts = || {
            let salts = control.snapshot().site(id).unwrap().salts.clone();
            // Those that the site was made with are of another time.
            let of_test = salts.iter().map(|salt| salt.from);
            of_test
                .filter(|from| *from < NOON + 10 * 24 * HOUR)
                .collect::<Vec<_>>()
        };
        control.turn_salts(NOON).unwrap();
        // 04:00 in Berlin is 03:00 UTC.
        let today = NOON - 9 * HOUR;
        assert_eq!(salts(), [today, today + 24 * HOUR]);
        let version = control.snapshot().version;
        control.turn_salts(NOON + 14 * HOUR).unwrap();
        assert_eq!(control.snapshot().version, version, "nothing was due");
        control.turn_salts(NOON + 15 * HOUR).unwrap();
        assert_eq!(salts().len(), 3);
        control.turn_salts(NOON + 4 * 24 * HOUR).unwrap();
        assert!(!salts().contains(&today));
    }
}
