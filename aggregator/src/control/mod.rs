//! Sites, keys, admin tokens and sign-in sessions, in one SQLite file.
//!
//! - Every change is durable (`synchronous = FULL`) before its method returns, and raises the snapshot's version.
//! - Readers never touch SQLite: they hold a [`ControlSnapshot`], replaced whole at each change.
//! - Keys are kept as they are, since collectors compare them; tokens and sessions only as SHA-256.
//! - One process at a time opens the file: the folder's lock sees to that.

mod auth;
mod definitions;
mod generations;
mod links;
mod rules;
mod schema;
mod schemas;
mod site_rules;
mod trackers;

use std::{
    collections::HashMap,
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::tz::TimeZone;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

pub use self::auth::{Caller, SESSION_LIFETIME_MS, Token};
pub use self::definitions::{SavedGoal, SavedSegment};
pub use self::generations::Generations;
pub use self::links::Link;
pub use self::rules::{AppId, Currency, Domain, InvalidSetting, SessionGap, Zone};
pub use self::schemas::SchemaVersion;
pub use self::site_rules::{
    BotRules, LimitRules, RedactRules, Redaction, SavedRules, SchemaMode, SchemaRule, SiteRules,
    UrlRules,
};
pub use self::trackers::{Alias, RedactionSalt, Salt};

/// A site whose visits are counted.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Site {
    /// 1, 2, … in the order of creation.
    pub id: u64,
    /// Host name in lower case; unique.
    pub domain: String,
    /// IANA name, as in [`Site::tz`].
    pub timezone: String,
    /// ISO 4217.
    pub currency: String,
    /// Minutes without an event after which a visit is over.
    pub session_gap_minutes: u32,
    /// Unix milliseconds.
    pub created_at: i64,
    /// Names that other trackers' clients know the site by, each `TRACKER:ID`.
    #[schema(value_type = Vec<String>)]
    pub aliases: Vec<Alias>,
    /// What ids of visitors are made with whose client gives none, in the order in which they hold.
    #[serde(skip)]
    pub salts: Vec<Salt>,
    /// What hashes of redacted values are made with; never shown, and never another one.
    #[serde(skip)]
    #[schema(ignore)]
    pub redaction_salt: RedactionSalt,
    /// The time zone of days and hours.
    #[serde(skip)]
    pub tz: TimeZone,
}

/// What a key may do.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    serde::Deserialize,
    clap::ValueEnum,
    ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// Public, in pages and apps: may only write.
    Write,
    /// Secret, for servers: may also set addresses, user agents and old times.
    Server,
}

impl KeyKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Server => "server",
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Write => "wk_",
            Self::Server => "sk_",
        }
    }
}

/// A key that has not been revoked.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Key {
    /// `wk_…` or `sk_…`.
    pub key: String,
    /// Site that its events belong to.
    pub site: u64,
    /// What it may do.
    pub kind: KeyKind,
    /// Ids of the apps that may send with it, which their requests name in the header `Wakeline-App`; empty: whoever has it.
    pub apps: Vec<String>,
    /// Unix milliseconds.
    pub created_at: i64,
}

/// All that collectors and workers need of the control store, at one version.
#[derive(Debug, Default)]
pub struct ControlSnapshot {
    /// Grows with each change, also across restarts.
    pub version: u64,
    /// Ascending by id.
    pub sites: Vec<Site>,
    /// Live keys, ascending by time of creation.
    pub keys: Vec<Key>,
    /// The rules of sites that have other than the defaults, ascending by site.
    pub rules: Vec<(u64, SavedRules)>,
    /// Ascending by id.
    pub goals: Vec<SavedGoal>,
    /// Ascending by id.
    pub segments: Vec<SavedSegment>,
    /// Ascending by id.
    pub links: Vec<Link>,
}

impl ControlSnapshot {
    /// The site of that id.
    pub fn site(&self, id: u64) -> Option<&Site> {
        let at = self.sites.binary_search_by_key(&id, |site| site.id).ok()?;
        self.sites.get(at)
    }

    /// The rules of the site of that id.
    pub fn rules(&self, site: u64) -> SavedRules {
        let at = self.rules.binary_search_by_key(&site, |(of, _)| *of);
        let saved = at.ok().and_then(|at| self.rules.get(at));
        saved.map(|(_, saved)| saved.clone()).unwrap_or_default()
    }

    /// What of it a caller may see.
    pub fn seen_by(self: &Arc<Self>, caller: &Caller) -> Arc<Self> {
        if caller.sites.is_none() {
            return Arc::clone(self);
        }
        let sees = |site: &u64| caller.sees(*site);
        Arc::new(Self {
            version: self.version,
            sites: self
                .sites
                .iter()
                .filter(|site| sees(&site.id))
                .cloned()
                .collect(),
            keys: self
                .keys
                .iter()
                .filter(|key| sees(&key.site))
                .cloned()
                .collect(),
            rules: self
                .rules
                .iter()
                .filter(|(site, _)| sees(site))
                .cloned()
                .collect(),
            goals: self
                .goals
                .iter()
                .filter(|goal| sees(&goal.site))
                .cloned()
                .collect(),
            segments: self
                .segments
                .iter()
                .filter(|segment| sees(&segment.site))
                .cloned()
                .collect(),
            links: self
                .links
                .iter()
                .filter(|link| sees(&link.site))
                .cloned()
                .collect(),
        })
    }

    /// The site that `name` means: its id in decimal digits, or its domain.
    pub fn find_site(&self, name: &str) -> Option<&Site> {
        if let Ok(id) = name.parse() {
            return self.site(id);
        }
        let domain = name.to_ascii_lowercase();
        self.sites.iter().find(|site| site.domain == domain)
    }
}

/// A site to be made.
#[derive(Clone, Debug)]
pub struct NewSite {
    /// Host name; no other site may have it.
    pub domain: Domain,
    /// Time zone of its days.
    pub timezone: Zone,
    /// Currency of its reports.
    pub currency: Currency,
    /// When its visits end.
    pub session_gap: SessionGap,
}

/// What a site and its first keys are when just made.
#[derive(Clone, Debug)]
pub struct CreatedSite {
    /// The site.
    pub site: Site,
    /// Its public key.
    pub write_key: String,
    /// Its secret key.
    pub server_key: String,
}

/// Why the control store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The file cannot be opened or made.
    #[error("control store: {0}")]
    File(#[source] io::Error),
    /// SQLite cannot use the file.
    #[error("control store: {0}")]
    Store(#[from] rusqlite::Error),
    /// Written by a later version.
    #[error("control store has schema {found}, this version knows up to {known}")]
    TooNew {
        /// Schema of the file.
        found: u32,
        /// Newest schema of this program.
        known: u32,
    },
    /// A row that cannot have been written by this program.
    #[error("control store: site {site} has a setting this version cannot use: {source}")]
    BadSite {
        /// Its id.
        site: u64,
        /// Which one.
        source: InvalidSetting,
    },
    /// Domains are unique.
    #[error("there is a site with domain {0} already")]
    DomainTaken(String),
    /// Rules that can't be read.
    #[error("rules: {0}")]
    BadRules(String),
    /// Rules that can't be obeyed: all that is wrong, each with its key.
    #[error("rules: {}", .0.join("; "))]
    InvalidRules(Vec<String>),
    /// Schemas that break with the last ones of their events, each as its key and what breaks.
    #[error("events that fitted would not fit any more, or what they are read by would be gone: {}", .0.join("; "))]
    BreakingSchemas(Vec<String>),
    /// No such version of a site's rules.
    #[error("the site's rules have no version {0}")]
    NoRules(u64),
    /// Somebody else changed the rules meanwhile.
    #[error(
        "the rules were changed meanwhile, they are at version {0}: look at them, and change them from there"
    )]
    RulesChanged(u64),
    /// Another site has that name.
    #[error("{0} is an alias of another site: take it from that one first")]
    AliasTaken(Alias),
    /// Another site has that name by its domain.
    #[error(
        "{0} is what clients call the site of that domain: events of two sites would be taken for one's"
    )]
    AliasIsDomain(Alias),
    /// Another site is called by that domain.
    #[error(
        "plausible:{0} is an alias of another site: take it from that one first (site set --remove-alias)"
    )]
    DomainIsAlias(String),
    /// The site has no such name.
    #[error("the site has no alias {0}")]
    NoAlias(Alias),
    /// No such site.
    #[error("there is no site {0}")]
    NoSite(String),
    /// A goal or segment that means nothing.
    #[error("{0}")]
    BadDefinition(String),
    /// Names of a site's goals, and of its segments, are unique.
    #[error("the site has a {0:?} already: delete that first, or take another name")]
    NameTaken(String),
    /// There is no room for more goals or segments.
    #[error("a site has at most {0} of them: delete one first")]
    TooManyDefined(usize),
    /// No such goal.
    #[error("the site has no goal {0}")]
    NoGoal(u64),
    /// No such public link.
    #[error("the site has no link {0}")]
    NoLink(u64),
    /// No such segment.
    #[error("the site has no segment {0}")]
    NoSegment(u64),
    /// Servers are no apps.
    #[error("a server key is secret by itself and not bound to apps: make a write key for them")]
    ServerKeyOfApps,
    /// No such live key.
    #[error("there is no live key {0}")]
    NoKey(String),
    /// No such token.
    #[error("there is no token {0}")]
    NoToken(u64),
    /// Somebody would be locked out.
    #[error("token {0} is the only one left: create another before revoking it")]
    LastToken(u64),
    /// The system gave no random bytes.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
}

/// The control store. Calls block for one small SQLite transaction at most.
#[derive(Debug)]
pub struct Control {
    db: Mutex<Connection>,
    snapshot: watch::Sender<Arc<ControlSnapshot>>,
    auth: auth::Auth,
}

impl Control {
    /// Opens the file, making or migrating it as needed.
    pub fn open(path: &Path) -> Result<Self, ControlError> {
        // Secret keys are in it. SQLite gives the files beside it the same mode.
        let private = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path);
        private.map_err(ControlError::File)?;
        let mut db = Connection::open(path)?;
        schema::prepare(&mut db)?;
        let snapshot = Arc::new(load_snapshot(&db)?);
        let auth = auth::Auth::load(&db)?;
        Ok(Self {
            db: Mutex::new(db),
            snapshot: watch::Sender::new(snapshot),
            auth,
        })
    }

    /// Sites and keys as they are now.
    pub fn snapshot(&self) -> Arc<ControlSnapshot> {
        self.snapshot.borrow().clone()
    }

    /// The snapshot, and every later one.
    pub fn watch(&self) -> watch::Receiver<Arc<ControlSnapshot>> {
        self.snapshot.subscribe()
    }

    /// Makes a site with a key of each kind.
    pub fn create_site(&self, new: &NewSite) -> Result<CreatedSite, ControlError> {
        let write_key = secret(KeyKind::Write.prefix())?;
        let server_key = secret(KeyKind::Server.prefix())?;
        let id = self.change(|db| {
            if site_of_domain(db, new.domain.as_str())?.is_some() {
                return Err(ControlError::DomainTaken(new.domain.to_string()));
            }
            trackers::check_domain(db, new.domain.as_str(), None)?;
            db.execute(
                "INSERT INTO sites (domain, timezone, currency, session_gap_minutes) VALUES (?1, ?2, ?3, ?4)",
                params![
                    new.domain.as_str(),
                    new.timezone.as_str(),
                    new.currency.as_str(),
                    new.session_gap.minutes(),
                ],
            )?;
            let id = db.last_insert_rowid() as u64;
            insert_key(db, &write_key, id, KeyKind::Write)?;
            insert_key(db, &server_key, id, KeyKind::Server)?;
            trackers::draw_redaction_salt(db, id)?;
            trackers::first_salts(db, id, &new.timezone.clone().into_time_zone())?;
            Ok(id)
        })?;
        Ok(CreatedSite {
            site: self.site(id)?,
            write_key,
            server_key,
        })
    }

    /// Gives a site another domain or currency; `None` leaves it as it is.
    ///
    /// Time zone and session gap stay what they were made with: all that has been counted was counted by them.
    pub fn update_site(
        &self,
        id: u64,
        domain: Option<&Domain>,
        currency: Option<&Currency>,
    ) -> Result<Site, ControlError> {
        self.site(id)?;
        self.change(|db| {
            if let Some(domain) = domain {
                trackers::check_domain(db, domain.as_str(), Some(id))?;
                match site_of_domain(db, domain.as_str())? {
                    Some(other) if other != id => {
                        return Err(ControlError::DomainTaken(domain.to_string()));
                    }
                    _ => db.execute(
                        "UPDATE sites SET domain = ?2 WHERE id = ?1",
                        params![id as i64, domain.as_str()],
                    )?,
                };
            }
            if let Some(currency) = currency {
                db.execute(
                    "UPDATE sites SET currency = ?2 WHERE id = ?1",
                    params![id as i64, currency.as_str()],
                )?;
            }
            Ok(())
        })?;
        self.site(id)
    }

    /// Makes a key for a site. `apps`: ids of those that may send with it; none: whoever has it may.
    pub fn create_key(
        &self,
        site: u64,
        kind: KeyKind,
        apps: &[AppId],
    ) -> Result<Key, ControlError> {
        self.site(site)?;
        if kind == KeyKind::Server && !apps.is_empty() {
            return Err(ControlError::ServerKeyOfApps);
        }
        let key = secret(kind.prefix())?;
        self.change(|db| {
            insert_key(db, &key, site, kind)?;
            let insert = "INSERT OR IGNORE INTO key_apps (key, app) VALUES (?1, ?2)";
            let mut apps = apps.iter();
            apps.try_for_each(|app| {
                db.execute(insert, params![key, app.as_str()])?;
                Ok(())
            })
        })?;
        let snapshot = self.snapshot();
        let made = snapshot.keys.iter().find(|live| live.key == key);
        made.cloned().ok_or(ControlError::NoKey(key))
    }

    /// Ends a key; collectors learn of it through their watch.
    pub fn revoke_key(&self, key: &str) -> Result<(), ControlError> {
        self.change(|db| {
            let ended = db.execute(
                "UPDATE keys SET revoked_at = CAST(unixepoch('subsec') * 1000 AS INTEGER)
                 WHERE key = ?1 AND revoked_at IS NULL",
                [key],
            )?;
            if ended == 0 {
                return Err(ControlError::NoKey(key.to_owned()));
            }
            Ok(())
        })
    }

    fn site(&self, id: u64) -> Result<Site, ControlError> {
        let snapshot = self.snapshot();
        let site = snapshot.site(id).cloned();
        site.ok_or_else(|| ControlError::NoSite(id.to_string()))
    }

    /// Runs `change` in a transaction, raises the version and publishes the new snapshot.
    fn change<T>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        let mut db = self.db();
        let transaction = db.transaction()?;
        let result = change(&transaction)?;
        transaction.execute("UPDATE meta SET version = version + 1", [])?;
        transaction.commit()?;
        // Published under the lock, so that watchers see versions in order.
        self.snapshot.send_replace(Arc::new(load_snapshot(&db)?));
        Ok(result)
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        // A panic under the lock leaves SQLite consistent: an open transaction rolls back when dropped.
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn site_of_domain(db: &Connection, domain: &str) -> Result<Option<u64>, ControlError> {
    let id: Option<i64> = db
        .query_row("SELECT id FROM sites WHERE domain = ?1", [domain], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(id.map(|id| id as u64))
}

fn insert_key(db: &Connection, key: &str, site: u64, kind: KeyKind) -> Result<(), ControlError> {
    db.execute(
        "INSERT INTO keys (key, site, kind) VALUES (?1, ?2, ?3)",
        params![key, site as i64, kind.as_str()],
    )?;
    Ok(())
}

/// The apps that keys are bound to.
fn load_apps(db: &Connection) -> Result<HashMap<String, Vec<String>>, ControlError> {
    let mut apps: HashMap<String, Vec<String>> = HashMap::new();
    let mut statement = db.prepare("SELECT key, app FROM key_apps ORDER BY app")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        apps.entry(row.get(0)?).or_default().push(row.get(1)?);
    }
    Ok(apps)
}

fn load_snapshot(db: &Connection) -> Result<ControlSnapshot, ControlError> {
    let version: i64 = db.query_row("SELECT version FROM meta", [], |row| row.get(0))?;
    let mut statement = db.prepare(
        "SELECT id, domain, timezone, currency, session_gap_minutes, created_at FROM sites ORDER BY id",
    )?;
    let mut rows = statement.query([])?;
    let mut aliases = trackers::load_aliases(db)?;
    let mut salts = trackers::load_salts(db)?;
    let mut redaction_salts = trackers::load_redaction_salts(db)?;
    let mut apps = load_apps(db)?;
    let mut sites = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get::<_, i64>(0)? as u64;
        let timezone: String = row.get(2)?;
        let zone: Zone = timezone
            .parse()
            .map_err(|source| ControlError::BadSite { site: id, source })?;
        sites.push(Site {
            id,
            domain: row.get(1)?,
            timezone,
            currency: row.get(3)?,
            session_gap_minutes: row.get(4)?,
            created_at: row.get(5)?,
            aliases: aliases.remove(&id).unwrap_or_default(),
            salts: salts.remove(&id).unwrap_or_default(),
            redaction_salt: redaction_salts.remove(&id).unwrap_or_default(),
            tz: zone.into_time_zone(),
        });
    }
    let mut statement = db.prepare(
        "SELECT key, site, kind, created_at FROM keys WHERE revoked_at IS NULL ORDER BY created_at, rowid",
    )?;
    let keys = statement
        .query_map([], |row| {
            let key: String = row.get(0)?;
            Ok(Key {
                apps: apps.remove(&key).unwrap_or_default(),
                key,
                site: row.get::<_, i64>(1)? as u64,
                kind: match row.get::<_, String>(2)?.as_str() {
                    "server" => KeyKind::Server,
                    _ => KeyKind::Write,
                },
                created_at: row.get(3)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(ControlSnapshot {
        version: version as u64,
        sites,
        keys,
        rules: site_rules::load(db)?,
        goals: definitions::load_goals(db)?,
        segments: definitions::load_segments(db)?,
        links: links::load(db)?,
    })
}

/// A new secret: the prefix and 32 base62 digits (190 bits).
fn secret(prefix: &str) -> Result<String, ControlError> {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut secret = String::with_capacity(prefix.len() + 32);
    secret.push_str(prefix);
    while secret.len() < prefix.len() + 32 {
        let mut bytes = [0; 48];
        getrandom::fill(&mut bytes).map_err(ControlError::Random)?;
        // Bytes from 248 on would make some digits likelier than others.
        let fair = bytes.into_iter().filter(|byte| *byte < 248);
        let missing = prefix.len() + 32 - secret.len();
        secret.extend(
            fair.take(missing)
                .map(|byte| char::from(DIGITS[usize::from(byte % 62)])),
        );
    }
    Ok(secret)
}

#[cfg(test)]
mod tests;
