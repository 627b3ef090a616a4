//! Who may use the state, and until when.
//!
//! A lease of 10 s, renewed every 3 s, keeps a second aggregator from starting on a state in use. It is a courtesy: what
//! keeps figures right is the fence of each commit, by epoch and owner. An owner whose lease another one has, or whose
//! commit is refused because a newer owner has claimed the partition, is over.

use std::sync::Arc;
use std::time::Duration;

use ::redis::Script;
use tokio_util::sync::CancellationToken;

use super::link::{Line, Links};
use super::server::RedisStateError;
use crate::state::StateError;

const LEASE: Duration = Duration::from_secs(10);
const RENEW: Duration = Duration::from_secs(3);
const KEY: &str = "wl:lease";

/// Who writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Grows with each owner of the state, and comes from the control store: a Redis that fell back would give one twice.
    /// A commit is refused if its partition was claimed with a higher one.
    pub epoch: u64,
    /// A random name of this life of the process: copies of one control store count alike.
    pub name: String,
    /// Names the data folder, which one process at a time has locked: whoever held the lease from there has ended.
    /// A copy of the folder is another place.
    pub place: String,
    /// The log that the state is made of. State of another log is refused.
    pub log: String,
}

/// The lease while it is held.
pub(super) struct Lease {
    links: Arc<Links>,
    line: Arc<Line>,
    owner: Owner,
    /// Somebody else has the state.
    over: CancellationToken,
    /// Ends the renewal.
    keeper: CancellationToken,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl Lease {
    /// Takes the lease, unless another one has it, and keeps it until dropped.
    pub(super) async fn take(
        links: Arc<Links>,
        line: Arc<Line>,
        owner: Owner,
    ) -> Result<Self, StateError> {
        let left = ask(&links, &line, &owner, "take").await?;
        if left > 0 {
            return Err(StateError::InUse {
                seconds: left.div_ceil(1000),
            });
        }
        let over = CancellationToken::new();
        let keeper = CancellationToken::new();
        tokio::spawn(keep(
            Arc::clone(&links),
            Arc::clone(&line),
            owner.clone(),
            over.clone(),
            keeper.clone(),
        ));
        Ok(Self {
            links,
            line,
            owner,
            over,
            keeper,
        })
    }

    pub(super) fn over(&self) -> &CancellationToken {
        &self.over
    }

    /// Makes sure that it is still held, and for a while.
    pub(super) async fn hold(&self) -> Result<(), StateError> {
        let left = ask(&self.links, &self.line, &self.owner, "renew").await?;
        if left > 0 {
            self.over.cancel();
            return Err(StateError::InUse {
                seconds: left.div_ceil(1000),
            });
        }
        Ok(())
    }

    pub(super) fn abandon(&self) {
        self.keeper.cancel();
    }

    /// Gives it back, so that another place need not wait for its end.
    pub(super) async fn release(&self) -> Result<(), RedisStateError> {
        self.abandon();
        let script = Script::new(include_str!("release.lua"));
        let mut call = script.key(KEY);
        call.arg(&self.owner.name).arg(&self.owner.place);
        let done: Result<(), _> = call.invoke_async(&mut self.line.link()).await;
        done.map_err(|error| self.line.failed(&self.links, error))
    }
}

/// Renews the lease. One that ran out while nobody else took it, as while Redis was away, is taken again.
async fn keep(
    links: Arc<Links>,
    line: Arc<Line>,
    owner: Owner,
    over: CancellationToken,
    end: CancellationToken,
) {
    loop {
        let pause = tokio::time::sleep(RENEW);
        if end.run_until_cancelled(pause).await.is_none() {
            return;
        }
        // Whether the server answers is told by whoever needs it.
        if ask(&links, &line, &owner, "renew")
            .await
            .is_ok_and(|left| left > 0)
        {
            over.cancel();
            return;
        }
    }
}

/// 0, or for how many milliseconds more another one has the lease.
async fn ask(links: &Links, line: &Line, owner: &Owner, how: &str) -> Result<u64, RedisStateError> {
    let script = Script::new(include_str!("lease.lua"));
    let mut call = script.key(KEY);
    call.arg(&owner.name)
        .arg(&owner.place)
        .arg(LEASE.as_millis() as u64)
        .arg(how);
    let left = call.invoke_async(&mut line.link()).await;
    left.map_err(|error| line.failed(links, error))
}
