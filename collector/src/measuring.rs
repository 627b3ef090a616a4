//! What `benches/agent.rs` measures of the inside. Not part of the library: it is there with the feature `measuring`.

use crate::config::EnrichConfig;
use crate::enrich::{Enricher, Hints, Sender, agent};

/// Who sends, as an [`Agents`] knows it.
#[derive(Debug)]
pub struct Visitor(Sender);

/// Knows user agents.
#[derive(Debug)]
pub struct Agents(Enricher);

impl Default for Agents {
    fn default() -> Self {
        let nowhere = std::path::Path::new("/nonexistent");
        Self(Enricher::open(&EnrichConfig::default(), nowhere))
    }
}

impl Agents {
    /// A visitor with that `User-Agent`.
    pub fn sender(user_agent: &str) -> Visitor {
        Visitor(Sender {
            user_agent: user_agent.to_owned(),
            ..Sender::default()
        })
    }

    /// Its browser, looked up as for a request: from the second time on it is remembered.
    pub fn remembered(&self, visitor: &Visitor) -> u32 {
        self.0.origin(&visitor.0).agent.browser
    }

    /// Its browser, read anew.
    pub fn read(visitor: &Visitor) -> &'static str {
        agent::parse(&visitor.0.user_agent, &Hints::default()).browser
    }
}
