//! Who this process is to a store that others can reach, too.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::state::Owner;

/// File with the random name of the log.
const LOG_ID: &str = "id";
/// Changes with each start of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The owner of state that is made from the log in `data`, whose lock is held.
pub(super) fn owner(data: &Path, epoch: u64) -> io::Result<Owner> {
    Ok(Owner {
        epoch,
        name: format!("{:016x}", getrandom::u64()?),
        place: place(data)?,
        log: log_id(&data.join("log"))?,
    })
}

/// A name of the folder that no copy of it has: where it is on this machine, until that is started again.
fn place(data: &Path) -> io::Result<String> {
    let folder = fs::metadata(data)?;
    // Elsewhere than on Linux each life is at a place of its own: then a lease is waited for after a crash.
    let boot =
        fs::read_to_string(BOOT_ID).or_else(|_| getrandom::u64().map(|id| id.to_string()))?;
    Ok(format!("{}/{}/{}", boot.trim(), folder.dev(), folder.ino()))
}

/// A random name of the log, made once.
fn log_id(log: &Path) -> io::Result<String> {
    let file = log.join(LOG_ID);
    match fs::read_to_string(&file) {
        Ok(id) => Ok(id.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = format!("{:016x}", getrandom::u64()?);
            super::open::write_durably(&file, &format!("{id}\n"))?;
            Ok(id)
        }
        Err(error) => Err(error),
    }
}
