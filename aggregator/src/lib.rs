//! The centre: log, engine, state, API and dashboard.
//!
//! [`Aggregator`] is the whole server: collectors push blocks of events over gRPC into the [`log`], workers let the engine
//! apply them to the [`state`], and the [`api`] answers from what the state holds, through [`metrics`], or from the [`events`] themselves, and pushes
//! what happens through [`live`]; what became of every event is in the [`ledger`]; [`influx`] exports figures. Sites and keys are in [`control`], and [`preview`] tells what
//! other rules of theirs would have done; commands of the CLI come through [`admin`].

pub mod admin;
pub mod api;
mod causes;
pub mod cli;
pub mod config;
pub mod control;
pub mod events;
pub mod followers;
mod generations;
mod grpc;
pub mod headless;
mod health;
pub mod influx;
mod lake;
pub mod ledger;
pub mod live;
mod lock;
pub mod log;
pub mod metrics;
pub mod preview;
mod process;
mod serve;
mod server;
pub mod state;
mod stats;
mod values;

pub use config::Config;
pub use generations::{Listed, RebuildError, Rebuilt, Step};
pub use grpc::TlsError;
pub use lake::{LakeReport, LakeUnavailable};
pub use lock::{FolderLock, LockError};
pub use process::RecoverError;
pub use server::{Aggregator, StartError};
