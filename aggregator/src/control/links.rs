//! Public links: who has one may read the reports of one site, until it is revoked.

use rusqlite::{Connection, params};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use utoipa::ToSchema;

use super::{Caller, Control, ControlError, ControlSnapshot, secret};

/// Links of a site.
const MAX_LINKS: usize = 100;
/// Origins that may embed one.
const MAX_ORIGINS: usize = 20;
/// Characters of a name, and of an origin.
const MAX_TEXT: usize = 255;

/// A public link. Unlike a token it is kept as it is, since it is to be copied again: it opens nothing that is not in the
/// same folder.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Link {
    /// 1, 2, … over all sites.
    pub id: u64,
    /// Site whose reports it shows.
    pub site: u64,
    /// What it is for; unique in the site.
    pub name: String,
    /// The end of its address, `/share/SECRET`; it is also shown as a token is.
    pub secret: String,
    /// Origins whose pages may show it in a frame.
    pub embed: Vec<String>,
    /// Unix milliseconds.
    pub created_at: i64,
    #[serde(skip)]
    #[schema(ignore)]
    hash: [u8; 32],
}

impl ControlSnapshot {
    /// The link of that secret.
    pub fn link(&self, secret: &str) -> Option<&Link> {
        let hash: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        let mut found = None;
        // All are compared, each in constant time, as tokens are.
        for link in &self.links {
            if bool::from(link.hash.ct_eq(&hash)) {
                found = Some(link);
            }
        }
        found
    }
}

impl Control {
    /// Who shows this secret of a public link.
    pub fn caller_by_link(&self, secret: &str) -> Option<Caller> {
        let snapshot = self.snapshot();
        let link = snapshot.link(secret)?;
        Some(Caller {
            token: 0,
            name: link.name.clone(),
            sites: Some(vec![link.site]),
            link: Some(link.id),
        })
    }

    /// Makes a link to the reports of a site, which pages of the origins in `embed` may show in a frame.
    pub fn create_link(
        &self,
        site: u64,
        name: &str,
        embed: &[String],
    ) -> Result<Link, ControlError> {
        let bad = |why: String| Err(ControlError::BadDefinition(why));
        if name.trim().is_empty() || name.chars().count() > MAX_TEXT {
            return bad(format!("name: 1 to {MAX_TEXT} characters"));
        }
        if embed.len() > MAX_ORIGINS {
            return bad(format!("embed: at most {MAX_ORIGINS} origins"));
        }
        if let Some(wrong) = embed.iter().find(|origin| !is_origin(origin)) {
            return bad(format!(
                "embed: {wrong:?} is no origin, such as https://intranet.example or http://localhost:3000"
            ));
        }
        self.site(site)?;
        let secret = secret("")?;
        let id = self.change(|db| {
            let count =
                "SELECT count(*), count(*) FILTER (WHERE name = ?2) FROM links WHERE site = ?1";
            let (all, of_name): (i64, i64) =
                db.query_row(count, params![site as i64, name], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?;
            if of_name > 0 {
                return Err(ControlError::NameTaken(name.to_owned()));
            }
            if all >= MAX_LINKS as i64 {
                return Err(ControlError::TooManyDefined(MAX_LINKS));
            }
            db.execute(
                "INSERT INTO links (site, name, secret, embed) VALUES (?1, ?2, ?3, ?4)",
                params![site as i64, name, secret, embed.join(" ")],
            )?;
            Ok(db.last_insert_rowid() as u64)
        })?;
        let snapshot = self.snapshot();
        let made = snapshot.links.iter().find(|link| link.id == id);
        made.cloned().ok_or(ControlError::NoLink(id))
    }

    /// Ends a link of a site: what is open by it sees nothing more within seconds.
    pub fn revoke_link(&self, site: u64, id: u64) -> Result<(), ControlError> {
        self.change(|db| {
            let delete = "DELETE FROM links WHERE site = ?1 AND id = ?2";
            match db.execute(delete, params![site as i64, id as i64])? {
                0 => Err(ControlError::NoLink(id)),
                _ => Ok(()),
            }
        })
    }
}

/// Whether this is scheme, host and port of web pages, and nothing that would say more in a header.
fn is_origin(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest.filter(|_| text.len() <= MAX_TEXT) else {
        return false;
    };
    let (host, port) = rest.split_once(':').unwrap_or((rest, "443"));
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    !host.is_empty() && host.bytes().all(is_host) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

pub(super) fn load(db: &Connection) -> Result<Vec<Link>, ControlError> {
    let mut statement =
        db.prepare("SELECT id, site, name, secret, embed, created_at FROM links ORDER BY id")?;
    let links = statement.query_map([], |row| {
        let secret: String = row.get(3)?;
        let embed: String = row.get(4)?;
        Ok(Link {
            id: row.get::<_, i64>(0)? as u64,
            site: row.get::<_, i64>(1)? as u64,
            name: row.get(2)?,
            hash: Sha256::digest(secret.as_bytes()).into(),
            secret,
            embed: embed.split_whitespace().map(str::to_owned).collect(),
            created_at: row.get(5)?,
        })
    })?;
    Ok(links.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::super::{
        ControlError,
        tests::{control, site},
    };
    use super::is_origin;

    #[test]
    fn a_link_reads_one_site_until_it_is_revoked() {
        let (_folder, control) = control();
        let one = control.create_site(&site("a.example")).unwrap().site.id;
        let two = control.create_site(&site("b.example")).unwrap().site.id;
        let origins = ["https://intranet.example".to_owned()];
        let link = control.create_link(one, "Board", &origins).unwrap();
        assert_eq!(link.embed, origins);
        let caller = control.caller_by_link(&link.secret).unwrap();
        assert_eq!(caller.sites, Some(vec![one]));
        assert_eq!(caller.link, Some(link.id));
        assert!(control.caller_by_link("").is_none());
        assert!(
            control.caller_by_token(&link.secret).is_none(),
            "it is no token"
        );

        let again = control.create_link(one, "Board", &[]);
        assert!(matches!(again, Err(ControlError::NameTaken(_))));
        control.create_link(two, "Board", &[]).unwrap();
        let other = control.revoke_link(two, link.id);
        assert!(matches!(other, Err(ControlError::NoLink(_))));
        control.revoke_link(one, link.id).unwrap();
        assert!(control.caller_by_link(&link.secret).is_none());
    }

    #[test]
    fn only_origins_may_embed_a_link() {
        for good in [
            "https://a.example",
            "http://localhost:3000",
            "https://10.0.0.1",
        ] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "",
            "*",
            "a.example",
            "https://",
            "https://a.example/",
            "https://a.example:0",
            "https://a b",
            "https://a.example;script-src *",
            "ftp://a.example",
            "https://a.example:x",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
