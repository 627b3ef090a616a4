//! The tables, and how an older file becomes a newer one.

use rusqlite::Connection;

use super::ControlError;
use crate::state::FORMAT;

/// Step `n` brings a file from `user_version` n to n + 1. Steps are never edited once released.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE meta (version INTEGER NOT NULL);
    INSERT INTO meta VALUES (1);

    CREATE TABLE sites (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        domain TEXT NOT NULL UNIQUE,
        timezone TEXT NOT NULL,
        currency TEXT NOT NULL,
        session_gap_minutes INTEGER NOT NULL CHECK (session_gap_minutes BETWEEN 1 AND 240),
        created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
    ) STRICT;

    CREATE TABLE keys (
        key TEXT NOT NULL UNIQUE,
        site INTEGER NOT NULL REFERENCES sites (id),
        kind TEXT NOT NULL CHECK (kind IN ('write', 'server')),
        created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
        revoked_at INTEGER
    ) STRICT;

    CREATE TABLE tokens (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        hash BLOB NOT NULL UNIQUE,
        name TEXT NOT NULL,
        role TEXT NOT NULL CHECK (role IN ('admin')),
        created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
    ) STRICT;

    CREATE TABLE sessions (
        hash BLOB NOT NULL PRIMARY KEY,
        token INTEGER NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
        expires_at INTEGER NOT NULL
    ) STRICT;
",
    "
    CREATE TABLE site_rules (
        site INTEGER NOT NULL REFERENCES sites (id),
        version INTEGER NOT NULL,
        rules TEXT NOT NULL,
        created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
        PRIMARY KEY (site, version)
    ) STRICT;
",
    "
    ALTER TABLE meta ADD COLUMN epoch INTEGER NOT NULL DEFAULT 1;

    CREATE TABLE generations (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        format INTEGER NOT NULL,
        in_use INTEGER NOT NULL CHECK (in_use IN (0, 1))
    ) STRICT;
    CREATE UNIQUE INDEX one_generation_in_use ON generations (in_use) WHERE in_use = 1;
    -- The state of a folder that is in use already is of format 1.
    INSERT INTO generations SELECT 0, CASE WHEN (SELECT count(*) FROM tokens) > 0 THEN 1 ELSE 2 END, 1;
",
    "
    CREATE TABLE aliases (
        tracker TEXT NOT NULL,
        id TEXT NOT NULL,
        site INTEGER NOT NULL REFERENCES sites (id),
        PRIMARY KEY (tracker, id)
    ) STRICT;

    CREATE TABLE salts (
        site INTEGER NOT NULL REFERENCES sites (id),
        starts_at INTEGER NOT NULL,
        salt BLOB NOT NULL,
        PRIMARY KEY (site, starts_at)
    ) STRICT;
",
    "
    -- Said apart from the list, so that a token whose list is lost sees nothing, not everything.
    ALTER TABLE tokens ADD COLUMN scoped INTEGER NOT NULL DEFAULT 0 CHECK (scoped IN (0, 1));

    CREATE TABLE token_sites (
        token INTEGER NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
        site INTEGER NOT NULL REFERENCES sites (id),
        PRIMARY KEY (token, site)
    ) STRICT;

    ALTER TABLE site_rules ADD COLUMN changed_by TEXT NOT NULL DEFAULT '';
    ALTER TABLE site_rules ADD COLUMN snapshot INTEGER NOT NULL DEFAULT 0;
",
    "
    ALTER TABLE generations ADD COLUMN previous INTEGER NOT NULL DEFAULT 0 CHECK (previous IN (0, 1));
    CREATE UNIQUE INDEX one_previous_generation ON generations (previous) WHERE previous = 1;
",
    "
    CREATE TABLE goals (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        site INTEGER NOT NULL REFERENCES sites (id),
        name TEXT NOT NULL,
        rule TEXT NOT NULL,
        created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
        UNIQUE (site, name)
    ) STRICT;

    CREATE TABLE segments (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        site INTEGER NOT NULL REFERENCES sites (id),
        name TEXT NOT NULL,
        filters TEXT NOT NULL,
        created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
        UNIQUE (site, name)
    ) STRICT;
",
    "
    -- SQLite seeds its generator from the system's.
    CREATE TABLE redaction_salts (
        site INTEGER PRIMARY KEY REFERENCES sites (id),
        salt BLOB NOT NULL
    ) STRICT;
    INSERT INTO redaction_salts SELECT id, randomblob(32) FROM sites;

    CREATE TABLE key_apps (
        key TEXT NOT NULL REFERENCES keys (key),
        app TEXT NOT NULL,
        PRIMARY KEY (key, app)
    ) STRICT;
",
    "
    CREATE TABLE links (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        site INTEGER NOT NULL REFERENCES sites (id),
        name TEXT NOT NULL,
        secret TEXT NOT NULL UNIQUE,
        -- Origins with spaces between.
        embed TEXT NOT NULL,
        created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
        UNIQUE (site, name)
    ) STRICT;
",
];

/// Sets the connection up and runs the migrations that are due.
pub(super) fn prepare(db: &mut Connection) -> Result<(), ControlError> {
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    let found: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = MIGRATIONS.len() as u32;
    let due = MIGRATIONS
        .get(found as usize..)
        .ok_or(ControlError::TooNew { found, known })?;
    if due.is_empty() {
        return Ok(());
    }
    let transaction = db.transaction()?;
    for step in due {
        transaction.execute_batch(step)?;
    }
    if found == 0 {
        // No state was made yet, in whatever format.
        transaction.execute("UPDATE generations SET format = ?1", [FORMAT])?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    Ok(())
}
