//! Tokens, of all sites or of some, and the sessions that browsers get for one.
//!
//! Both are looked up in memory by SHA-256, so a request costs no I/O; SQLite keeps them over restarts.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use rusqlite::{Connection, params};
use serde::Serialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use utoipa::ToSchema;

use super::{Control, ControlError, secret};

/// How long a browser stays signed in, in milliseconds.
pub const SESSION_LIFETIME_MS: i64 = 30 * 24 * 60 * 60 * 1000;

type Hash = [u8; 32];

/// A token; the secret itself is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Token {
    /// Names it in lists and when revoking.
    pub id: u64,
    /// What it is for.
    pub name: String,
    /// Unix milliseconds.
    pub created_at: i64,
    /// Ids of the sites that it is for; none: it may do everything.
    pub sites: Option<Vec<u64>>,
}

/// Who is calling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Caller {
    /// Id of the token shown, or signed in with.
    pub token: u64,
    /// The token's name.
    pub name: String,
    /// Ids of the sites that it is for; none: it may do everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sites: Option<Vec<u64>>,
    /// Id of the public link that was shown in the place of a token: it may read reports, and nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<u64>,
}

impl Caller {
    fn of(token: &Token) -> Self {
        Self {
            token: token.id,
            name: token.name.clone(),
            sites: token.sites.clone(),
            link: None,
        }
    }

    /// Whether this is for the eyes of the caller.
    pub fn sees(&self, site: u64) -> bool {
        self.sites
            .as_ref()
            .is_none_or(|sites| sites.contains(&site))
    }
}

#[derive(Debug, Default)]
pub(super) struct Auth(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    tokens: Vec<(Hash, Token)>,
    sessions: HashMap<Hash, Session>,
}

#[derive(Debug)]
struct Session {
    token: u64,
    expires_at: i64,
}

impl Auth {
    pub(super) fn load(db: &Connection) -> Result<Self, ControlError> {
        Ok(Self(RwLock::new(Known::load(db)?)))
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        // Replaced whole, so a poisoned lock still holds a good value.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn reload(&self, db: &Connection) -> Result<(), ControlError> {
        let known = Known::load(db)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(())
    }
}

impl Known {
    fn load(db: &Connection) -> Result<Self, ControlError> {
        let mut sites: HashMap<i64, Vec<u64>> = HashMap::new();
        let mut statement = db.prepare("SELECT token, site FROM token_sites ORDER BY site")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let seen = sites.entry(row.get(0)?).or_default();
            seen.push(row.get::<_, i64>(1)? as u64);
        }
        let mut statement =
            db.prepare("SELECT hash, id, name, created_at, scoped FROM tokens ORDER BY id")?;
        let tokens = statement
            .query_map([], |row| {
                let id: i64 = row.get(1)?;
                let scoped: bool = row.get(4)?;
                Ok((
                    row.get(0)?,
                    Token {
                        id: id as u64,
                        name: row.get(2)?,
                        created_at: row.get(3)?,
                        sites: scoped.then(|| sites.remove(&id).unwrap_or_default()),
                    },
                ))
            })?
            .collect::<Result<_, _>>()?;
        let mut statement = db.prepare("SELECT hash, token, expires_at FROM sessions")?;
        let sessions = statement
            .query_map([], |row| {
                let session = Session {
                    token: row.get::<_, i64>(1)? as u64,
                    expires_at: row.get(2)?,
                };
                Ok((row.get(0)?, session))
            })?
            .collect::<Result<_, _>>()?;
        Ok(Self { tokens, sessions })
    }

    fn token(&self, secret: &str) -> Option<&Token> {
        let hash = hash(secret);
        let mut found = None;
        // All are compared, each in constant time: the time taken says nothing of how near a guess was.
        for (known, token) in &self.tokens {
            if bool::from(known.ct_eq(&hash)) {
                found = Some(token);
            }
        }
        found
    }
}

impl Control {
    /// Makes an admin token and gives its secret, which cannot be had again.
    pub fn create_token(&self, name: &str) -> Result<(Token, String), ControlError> {
        let secret = secret("at_")?;
        let token = self.adopt_token(name, &secret)?;
        Ok((token, secret))
    }

    /// Makes a token that sees some sites only, and gives its secret, which cannot be had again.
    pub fn create_site_token(
        &self,
        name: &str,
        sites: &[u64],
    ) -> Result<(Token, String), ControlError> {
        let snapshot = self.snapshot();
        if let Some(unknown) = sites.iter().find(|site| snapshot.site(**site).is_none()) {
            return Err(ControlError::NoSite(unknown.to_string()));
        }
        let secret = secret("st_")?;
        self.change_auth(|db| {
            db.execute(
                "INSERT INTO tokens (hash, name, role, scoped) VALUES (?1, ?2, 'admin', 1)",
                params![hash(&secret), name],
            )?;
            let token = db.last_insert_rowid();
            for site in sites {
                db.execute(
                    "INSERT INTO token_sites (token, site) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                    params![token, *site as i64],
                )?;
            }
            Ok(())
        })?;
        let token = self.auth.known().token(&secret).cloned();
        Ok((token.ok_or(ControlError::NoToken(0))?, secret))
    }

    /// Takes a secret that somebody else made as an admin token; one that is known already stays as it is.
    pub fn adopt_token(&self, name: &str, secret: &str) -> Result<Token, ControlError> {
        self.change_auth(|db| {
            db.execute(
                "INSERT INTO tokens (hash, name, role) VALUES (?1, ?2, 'admin') ON CONFLICT (hash) DO NOTHING",
                params![hash(secret), name],
            )?;
            Ok(())
        })?;
        let token = self.auth.known().token(secret).cloned();
        token.ok_or(ControlError::NoToken(0))
    }

    /// All tokens, the oldest first.
    pub fn tokens(&self) -> Vec<Token> {
        let known = self.auth.known();
        known
            .tokens
            .iter()
            .map(|(_, token)| token.clone())
            .collect()
    }

    /// Ends a token and the sessions that were opened with it.
    pub fn revoke_token(&self, id: u64) -> Result<(), ControlError> {
        let tokens = self.tokens();
        let Some(token) = tokens.iter().find(|token| token.id == id) else {
            return Err(ControlError::NoToken(id));
        };
        let admins = tokens.iter().filter(|token| token.sites.is_none());
        if token.sites.is_none() && admins.count() == 1 {
            return Err(ControlError::LastToken(id));
        }
        self.change_auth(|db| {
            db.execute("DELETE FROM tokens WHERE id = ?1", [id as i64])?;
            Ok(())
        })
    }

    /// Who shows this token.
    pub fn caller_by_token(&self, secret: &str) -> Option<Caller> {
        let known = self.auth.known();
        let token = known.token(secret)?;
        Some(Caller::of(token))
    }

    /// Who is signed in with this session at `now` (Unix milliseconds).
    pub fn caller_by_session(&self, session: &str, now: i64) -> Option<Caller> {
        let known = self.auth.known();
        let session = known.sessions.get(&hash(session))?;
        if session.expires_at <= now {
            return None;
        }
        let (_, token) = known
            .tokens
            .iter()
            .find(|(_, token)| token.id == session.token)?;
        Some(Caller::of(token))
    }

    /// Signs a browser in at `now` (Unix milliseconds) and gives the session's secret.
    pub fn open_session(&self, token: u64, now: i64) -> Result<String, ControlError> {
        let session = secret("")?;
        self.change_auth(|db| {
            db.execute("DELETE FROM sessions WHERE expires_at <= ?1", [now])?;
            db.execute(
                "INSERT INTO sessions (hash, token, expires_at) VALUES (?1, ?2, ?3)",
                params![hash(&session), token as i64, now + SESSION_LIFETIME_MS],
            )?;
            Ok(())
        })?;
        Ok(session)
    }

    /// Signs a browser out; an unknown session is no error.
    pub fn close_session(&self, session: &str) -> Result<(), ControlError> {
        self.change_auth(|db| {
            db.execute("DELETE FROM sessions WHERE hash = ?1", [hash(session)])?;
            Ok(())
        })
    }

    fn change_auth(
        &self,
        change: impl FnOnce(&Connection) -> Result<(), ControlError>,
    ) -> Result<(), ControlError> {
        let mut db = self.db();
        let transaction = db.transaction()?;
        change(&transaction)?;
        transaction.commit()?;
        self.auth.reload(&db)
    }
}

fn hash(secret: &str) -> Hash {
    Sha256::digest(secret.as_bytes()).into()
}
