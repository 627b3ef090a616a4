//! Where addresses are, from a database in the MaxMind format (<https://maxmind.github.io/MaxMind-DB/>).
//!
//! The file is looked at every few seconds: one that appears, or is replaced by a rename, is in use without a restart. A
//! collector without a database works, and says so once. Databases that are known to fit: MaxMind's Country and City,
//! DB-IP's, and the public-domain countries of npm `@ip-location-db/geo-whois-asn-country-mmdb`, which
//! `wakeline-collector geoip` fetches.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use maxminddb::Reader;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use wakeline_proto::v1;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The package with countries in the public domain.
const PACKAGE: &str = "@ip-location-db/geo-whois-asn-country-mmdb";
const PACKAGE_FILE: &str = "geo-whois-asn-country.mmdb";
/// The name of the fetched database in the data folder.
pub(crate) const FETCHED: &str = "country.mmdb";

type Database = Reader<Vec<u8>>;

/// A database that may come, change and go.
#[derive(Debug, Default)]
pub(crate) struct Geo {
    path: PathBuf,
    database: RwLock<Option<Arc<Database>>>,
}

/// What is read of an entry: MaxMind's layout, and the flat one of ip-location-db.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    country: Option<Coded<'a>>,
    country_code: Option<&'a str>,
    #[serde(borrow)]
    subdivisions: Option<Vec<Coded<'a>>>,
    city: Option<City<'a>>,
}

#[derive(Deserialize)]
struct Coded<'a> {
    iso_code: Option<&'a str>,
}

#[derive(Deserialize)]
struct City<'a> {
    #[serde(borrow)]
    names: Option<Names<'a>>,
}

#[derive(Deserialize)]
struct Names<'a> {
    en: Option<&'a str>,
}

impl Geo {
    /// Reads the file at `path`, if there is one.
    pub(crate) fn open(path: PathBuf) -> (Self, Option<SystemTime>) {
        let geo = Self {
            path,
            database: RwLock::default(),
        };
        let stamp = geo.stamp();
        if stamp.is_none() {
            tracing::info!(path = %geo.path.display(), "no database of countries: `wakeline-collector geoip` fetches one");
        }
        geo.load(stamp);
        (geo, stamp)
    }

    /// Looks for another file until `stop` fires.
    pub(crate) async fn follow(
        self: Arc<Self>,
        mut seen: Option<SystemTime>,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let geo = Arc::clone(&self);
            let looked = wakeline_spool::work::spawn_blocking(move || {
                let stamp = geo.stamp();
                if stamp != seen {
                    geo.load(stamp);
                }
                stamp
            });
            if let Ok(stamp) = looked.await {
                seen = stamp;
            }
        }
    }

    fn stamp(&self) -> Option<SystemTime> {
        std::fs::metadata(&self.path)
            .and_then(|file| file.modified())
            .ok()
    }

    /// A file that can't be read leaves the database that is in use.
    fn load(&self, stamp: Option<SystemTime>) {
        if stamp.is_none() {
            return;
        }
        match Reader::open_readfile(&self.path) {
            Ok(database) => {
                tracing::info!(path = %self.path.display(), kind = database.metadata().database_type, "database of places");
                let mut slot = self
                    .database
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                *slot = Some(Arc::new(database));
            }
            Err(error) => {
                tracing::error!(%error, path = %self.path.display(), "database of places can't be used");
            }
        }
    }

    /// Whether there is a database.
    pub(crate) fn is_loaded(&self) -> bool {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        database.is_some()
    }

    /// Where `ip` is; unknown without a database.
    pub(crate) fn locate(&self, ip: IpAddr) -> v1::Location {
        let database = self
            .database
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        database.map_or_else(v1::Location::default, |database| locate(&database, ip))
    }
}

fn locate(database: &Database, ip: IpAddr) -> v1::Location {
    let entry = database
        .lookup(ip)
        .ok()
        .and_then(|found| found.decode::<Entry<'_>>().ok().flatten());
    let Some(entry) = entry else {
        return v1::Location::default();
    };
    let code = entry
        .country
        .and_then(|country| country.iso_code)
        .or(entry.country_code);
    let country =
        code.filter(|code| code.len() == 2 && code.bytes().all(|b| b.is_ascii_alphabetic()));
    let country = country.map(str::to_ascii_uppercase).unwrap_or_default();
    let region = entry
        .subdivisions
        .and_then(|all| all.first().and_then(|first| first.iso_code));
    v1::Location {
        region: match region {
            Some(region) if !country.is_empty() => format!("{country}-{region}"),
            _ => String::new(),
        },
        city: entry
            .city
            .and_then(|city| city.names)
            .and_then(|names| names.en)
            .unwrap_or_default()
            .to_owned(),
        country,
    }
}

/// Why a database can't be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// npm can't be run.
    #[error(
        "npm can't be run: install Node 20 or later, or put a database in the MaxMind format to {0}"
    )]
    NoNpm(PathBuf, #[source] std::io::Error),
    /// npm failed.
    #[error("npm can't fetch {PACKAGE}: {0}")]
    Npm(String),
    /// A file can't be written.
    #[error("{0}")]
    Io(PathBuf, #[source] std::io::Error),
    /// What came is no database.
    #[error("what came is not a database of places")]
    Broken(#[source] maxminddb::MaxMindDbError),
}

/// Fetches the public-domain database of countries with npm into the data folder `data`; the path of the file. A collector
/// that runs there takes it within seconds.
pub fn fetch(data: &Path) -> Result<PathBuf, FetchError> {
    let path = data.join(FETCHED);
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| FetchError::Io(path, error)
    };
    std::fs::create_dir_all(data).map_err(at(data))?;
    let folder = data.join(format!("geoip.{}", std::process::id()));
    let fetched = (|| {
        std::fs::create_dir_all(&folder).map_err(at(&folder))?;
        let npm = std::process::Command::new("npm")
            .args([
                "install",
                "--silent",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--prefix",
            ])
            .arg(&folder)
            .arg(PACKAGE)
            .output()
            .map_err(|error| FetchError::NoNpm(path.clone(), error))?;
        if !npm.status.success() {
            return Err(FetchError::Npm(
                String::from_utf8_lossy(&npm.stderr).trim().to_owned(),
            ));
        }
        let file = folder.join("node_modules").join(PACKAGE).join(PACKAGE_FILE);
        Reader::open_readfile(&file).map_err(FetchError::Broken)?;
        std::fs::rename(&file, &path).map_err(at(&path))
    })();
    let _ = std::fs::remove_dir_all(&folder);
    fetched.map(|()| path)
}
