//! Where work that blocks runs: on threads of its own; or, in a deterministic simulation, in its turn on the caller's
//! runtime. The simulation is a process of its own, so this is one switch for the whole process.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinError;

static IN_TURN: AtomicBool = AtomicBool::new(false);

/// From now on this process makes no threads for work that blocks: all runs in turn on the runtime that asks for it,
/// which must be one of a single thread. For simulations.
pub fn run_in_turn() {
    IN_TURN.store(true, Ordering::Relaxed);
}

/// Whether [`run_in_turn`] was called.
pub fn is_in_turn() -> bool {
    IN_TURN.load(Ordering::Relaxed)
}

/// Like [`tokio::task::spawn_blocking`], but in turn where that is wanted.
pub async fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    if is_in_turn() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
}
