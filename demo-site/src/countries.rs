//! The demo's database of countries: fetched once, beside the demo, into the testbed's cache.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use wakeline_collector::fetch_places;

/// Countries move seldom.
const FRESH: Duration = Duration::from_secs(60 * 60 * 24 * 60);

/// Where the database is in the folder `cache`, or will be: collectors take it within seconds. If there is none yet, or an
/// old one, a thread fetches it while everything else goes on, and `tell` says in a line what comes of that.
///
/// # Errors
/// If no thread can be started.
pub fn fetch_beside(cache: &Path, tell: impl Fn(&str) + Send + 'static) -> anyhow::Result<PathBuf> {
    let folder = cache.join("geoip");
    let path = folder.join(wakeline_collector::FETCHED_PLACES);
    if is_fresh(&path) {
        tell(&format!("known by {}", path.display()));
        return Ok(path);
    }
    tell("fetched by npm meanwhile; visits before that have none");
    // Not on the runtime, which would wait for it when the demo ends.
    std::thread::Builder::new()
        .name("countries".to_owned())
        .spawn(move || match fetch_places(&folder) {
            Ok(path) => tell(&format!("known from now on, by {}", path.display())),
            Err(error) => {
                let error = anyhow::Error::from(error);
                tell(&format!("not known: {error:#}"));
            }
        })
        .context("start a thread")?;
    Ok(path)
}

fn is_fresh(path: &Path) -> bool {
    let changed = path.metadata().and_then(|file| file.modified());
    changed.is_ok_and(|at| at.elapsed().is_ok_and(|age| age < FRESH))
}

#[cfg(test)]
mod tests {
    use super::fetch_beside;

    #[test]
    fn a_database_that_is_there_is_not_fetched_again() {
        let cache = tempfile::tempdir().unwrap();
        let path = cache.path().join("geoip/country.mmdb");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let found = fetch_beside(cache.path(), move |line| {
            tell.send(line.to_owned()).unwrap();
        });
        assert_eq!(found.unwrap(), path);
        let told: Vec<_> = told.iter().collect();
        assert_eq!(told, [format!("known by {}", path.display())]);
    }
}
