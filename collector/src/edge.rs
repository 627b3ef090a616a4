//! The collector's id: 64 random bits, made with the spool.
//!
//! Spool positions are only unique together with it. So a spool that begins at position 0 gets a new id, also if the
//! file of an older one is still there: the aggregator would take its events for known ones.

use std::io;
use std::path::Path;

use crate::snapshot::save;

/// The id in the file at `path`, or a new one if the spool is new or there is none.
pub(crate) fn open(path: &Path, next_position: u64) -> io::Result<u64> {
    if next_position > 0 {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                return u64::from_str_radix(text.trim(), 16).map_err(|_| {
                    io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the edge id is not 16 hex digits",
                    )
                });
            }
            // Without its id the spool's events can still be sent under a new one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), "the edge id is gone, making a new one");
            }
            Err(error) => return Err(error),
        }
    }
    let edge = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
    save(path, format!("{edge:016x}\n").as_bytes())?;
    Ok(edge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_stays_as_long_as_the_spool() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edge");
        let first = open(&path, 0).unwrap();
        assert_eq!(open(&path, 17).unwrap(), first);
        assert_ne!(
            open(&path, 0).unwrap(),
            first,
            "a new spool is another edge"
        );
    }

    #[test]
    fn a_broken_id_is_not_replaced_silently() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edge");
        std::fs::write(&path, "xyz").unwrap();
        assert!(open(&path, 1).is_err());
    }
}
