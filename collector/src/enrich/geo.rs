//! Where addresses are.
//!
//! Databases that are known to fit: MaxMind's Country and City, DB-IP's, and the public-domain countries of npm
//! `@ip-location-db/geo-whois-asn-country-mmdb`, which `wakeline-collector geoip` fetches. A collector without one works.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use maxminddb::Reader;
use serde::Deserialize;
use wakeline_proto::v1;

use super::database::Database;

/// The package with countries in the public domain.
const PACKAGE: &str = "@ip-location-db/geo-whois-asn-country-mmdb";
const PACKAGE_FILE: &str = "geo-whois-asn-country.mmdb";
/// The name of the fetched database in its folder.
pub const FETCHED: &str = "country.mmdb";

/// What is read of an entry: MaxMind's layout, and the flat one of ip-location-db.
#[derive(Deserialize)]
struct Entry {
    country: Option<Coded>,
    country_code: Option<String>,
    subdivisions: Option<Vec<Coded>>,
    city: Option<City>,
    location: Option<Spot>,
}

#[derive(Deserialize)]
struct Spot {
    time_zone: Option<String>,
}

#[derive(Deserialize)]
struct Coded {
    iso_code: Option<String>,
}

#[derive(Deserialize)]
struct City {
    names: Option<Names>,
}

#[derive(Deserialize)]
struct Names {
    en: Option<String>,
}

/// Where an address is.
#[derive(Debug, Default)]
pub(crate) struct Place {
    pub(crate) location: v1::Location,
    /// IANA name; empty: not known.
    pub(crate) time_zone: String,
}

/// Where `ip` is; unknown without a database.
pub(crate) fn locate(database: &Database, ip: IpAddr) -> Place {
    let Some(entry) = database.find::<Entry>(ip) else {
        return Place::default();
    };
    let code = entry.country.and_then(|country| country.iso_code);
    let country = code
        .or(entry.country_code)
        .filter(|code| code.len() == 2 && code.bytes().all(|b| b.is_ascii_alphabetic()))
        .map(|code| code.to_ascii_uppercase())
        .unwrap_or_default();
    let subdivision = entry.subdivisions.and_then(|all| all.into_iter().next());
    let region = subdivision.and_then(|first| first.iso_code);
    let names = entry.city.and_then(|city| city.names);
    let time_zone = entry.location.and_then(|location| location.time_zone);
    Place {
        location: v1::Location {
            region: match region {
                Some(region) if !country.is_empty() => format!("{country}-{region}"),
                _ => String::new(),
            },
            city: names.and_then(|names| names.en).unwrap_or_default(),
            country,
        },
        time_zone: time_zone.unwrap_or_default(),
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
