//! The edge: takes hits, makes them durable, forwards them.
//!
//! A [`Collector`] owns a data folder (spool, edge id, cached config snapshot) and the tasks that forward the spool and
//! watch the aggregator's config. It binds nothing: [`Collector::router`] is served by [`serve`](crate::serve()), alone
//! or merged with other routes.
//!
//! Promise: a 2xx is answered after what it acknowledges was fsynced in the spool.

pub mod config;
mod serve;
pub mod snapshot;

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use config::{Config, ConfigError};
pub use serve::{ServeOptions, serve};

/// Why a collector can't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file or folder can't be read or written.
    #[error("{path}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    stop: CancellationToken,
}

impl Collector {
    /// Opens the data folder and starts the tasks; binds nothing.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.check()?;
        Ok(Self {
            stop: CancellationToken::new(),
        })
    }

    /// All doors, without a fallback, so that it merges with other routers.
    pub fn router(&self) -> axum::Router {
        axum::Router::new()
    }

    /// Ends the tasks and closes the spool; gives up waiting for them at `deadline`. Stop serving the router first.
    pub async fn shutdown(self, deadline: Duration) {
        self.stop.cancel();
        let _ = deadline;
    }
}
