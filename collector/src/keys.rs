//! From a key to what it allows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use wakeline_proto::v1;
use wakeline_proto::v1::config_client::ConfigClient;

use crate::rules::SiteRules;
use crate::snapshot::{Grant, Rules, RulesWatch};
use crate::upstream::Upstream;

const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an answer holds. Also the bound for revoking a key that was learnt by asking.
const ANSWER_HOLDS: Duration = Duration::from_secs(5);
/// Keys asked for at a time, so that made-up keys can't flood the aggregator.
const MAX_ASKING: usize = 16;
/// Answers kept.
const MAX_ANSWERS: usize = 4_096;
/// Longer ones are no keys.
const MAX_KEY_BYTES: usize = 256;

/// Why a key allows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyError {
    /// There is no such key.
    Unknown,
    /// It is not in the snapshot, and the aggregator does not answer.
    CannotAsk,
}

/// What a key allows, and by which version of the rules.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    pub(crate) grant: Grant,
    pub(crate) rules_version: u64,
    /// Of the site; the defaults for one that the snapshot does not have yet.
    pub(crate) rules: Arc<SiteRules>,
}

/// Looks keys up in the snapshot and, if they are not there, asks the aggregator.
#[derive(Debug)]
pub(crate) struct Keys {
    rules: RulesWatch,
    upstream: Upstream,
    answers: Mutex<HashMap<String, Answer>>,
    asking: Semaphore,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    until: Instant,
    grant: Option<Grant>,
}

impl Keys {
    pub(crate) fn new(rules: RulesWatch, upstream: Upstream) -> Self {
        Self {
            rules,
            upstream,
            answers: Mutex::default(),
            asking: Semaphore::new(MAX_ASKING),
        }
    }

    /// Whether a snapshot is held.
    pub(crate) fn ready(&self) -> bool {
        self.rules.borrow().is_some()
    }

    /// Version of the snapshot held; 0 = none.
    pub(crate) fn rules_version(&self) -> u64 {
        self.rules
            .borrow()
            .as_ref()
            .map_or(0, |rules| rules.version)
    }

    /// The rules held now; none until a first snapshot has come.
    pub(crate) fn rules(&self) -> Option<Arc<Rules>> {
        self.rules.borrow().clone()
    }

    /// What the client of a tracker may write that calls its site `id`: an alias of the site, or one of its keys.
    pub(crate) async fn pass_of(&self, tracker: &str, id: &str) -> Result<Pass, KeyError> {
        if id.is_empty() {
            return Err(KeyError::Unknown);
        }
        let is_key = id.starts_with("wk_") || id.starts_with("sk_");
        let known = |rules: &Arc<Rules>| rules.grant(id).is_some();
        if is_key || self.rules().as_ref().is_some_and(known) {
            return self.pass(id).await;
        }
        self.pass(&format!("{tracker}:{id}")).await
    }

    pub(crate) async fn pass(&self, key: &str) -> Result<Pass, KeyError> {
        // One look, so that version and rules are of the same snapshot.
        let snapshot = self.rules.borrow().clone();
        let known = snapshot.as_ref().and_then(|snapshot| snapshot.grant(key));
        let grant = match known {
            Some(grant) => grant,
            None => self.ask(key).await?,
        };
        let rules = snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.site(grant.site));
        Ok(Pass {
            grant,
            rules_version: snapshot.map_or(0, |snapshot| snapshot.version),
            rules: rules.unwrap_or_default(),
        })
    }

    async fn ask(&self, key: &str) -> Result<Grant, KeyError> {
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(KeyError::Unknown);
        }
        if let Some(answer) = self.answered(key) {
            return answer.grant.ok_or(KeyError::Unknown);
        }
        let _asking = self.asking.try_acquire().map_err(|_| KeyError::CannotAsk)?;
        let mut client = ConfigClient::new(self.upstream.channel());
        let request = self.upstream.request(v1::LookupKeyRequest {
            key: key.to_owned(),
        });
        let reply = match tokio::time::timeout(ASK_TIMEOUT, client.lookup_key(request)).await {
            Ok(Ok(reply)) => reply.into_inner(),
            Ok(Err(error)) => {
                tracing::debug!(error = error.message(), code = %error.code(), "ask for a key");
                return Err(KeyError::CannotAsk);
            }
            Err(_) => return Err(KeyError::CannotAsk),
        };
        // A key without its site can't be used; one that says another site than its own is not believed.
        let grant = match (&reply.key, &reply.site) {
            (Some(key), Some(site)) if key.site == site.id => Some(Grant::from(key)),
            _ => None,
        };
        self.keep(key, grant);
        grant.ok_or(KeyError::Unknown)
    }

    /// What the aggregator said about `key` a moment ago.
    fn answered(&self, key: &str) -> Option<Answer> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers
            .get(key)
            .filter(|answer| answer.until > Instant::now())
            .copied()
    }

    fn keep(&self, key: &str, grant: Option<Grant>) {
        let now = Instant::now();
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MAX_ANSWERS {
            answers.retain(|_, answer| answer.until > now);
        }
        if answers.len() < MAX_ANSWERS {
            let until = now + ANSWER_HOLDS;
            answers.insert(key.to_owned(), Answer { until, grant });
        }
    }
}
