//! From a key to what it allows.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use wakeline_proto::TRACKERS;
use wakeline_proto::limits::MAX_LOOKUP_KEYS;
use wakeline_proto::v1;
use wakeline_proto::v1::config_client::ConfigClient;

use crate::rules::SiteRules;
use crate::snapshot::{Grant, Rules, RulesWatch};
use crate::upstream::Upstream;

const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an answer holds. Also the bound for revoking a key that was learnt by asking.
const ANSWER_HOLDS: Duration = Duration::from_secs(5);
/// Requests that ask at a time, so that made-up keys can't flood the aggregator; others wait for their turn.
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
    /// Whose limits count, of those that write to the site: a key, or (empty) all that call it by a name.
    pub(crate) payer: String,
}

impl Pass {
    fn new(snapshot: Option<&Rules>, grant: Grant, payer: String) -> Self {
        let rules = snapshot.and_then(|snapshot| snapshot.site(grant.site));
        Self {
            rules_version: snapshot.map_or(0, |snapshot| snapshot.version),
            rules: rules.unwrap_or_default(),
            payer,
            grant,
        }
    }
}

/// What is looked for.
#[derive(Debug, Default)]
struct Wanted {
    /// A key, or `TRACKER:NAME`.
    key: String,
    is_name: bool,
}

impl Wanted {
    fn of(&self, rules: &Rules) -> Option<Grant> {
        if self.is_name {
            rules.grant_of_name(&self.key)
        } else {
            rules.grant(&self.key)
        }
    }

    /// Whether it may be there at all: the aggregator answers for names, too, but a name is no key.
    fn may_be(&self) -> bool {
        let tracker = self.key.split_once(':').map(|(tracker, _)| tracker);
        self.is_name || !tracker.is_some_and(|tracker| TRACKERS.contains(&tracker))
    }
}

/// Looks keys up in the snapshot and, if they are not there, asks the aggregator.
#[derive(Debug)]
pub(crate) struct Keys {
    rules: RulesWatch,
    upstream: Upstream,
    answers: Mutex<HashMap<String, Answer>>,
    asking: Semaphore,
}

#[derive(Clone, Debug)]
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

    /// What a key allows.
    pub(crate) async fn pass(&self, key: &str) -> Result<Pass, KeyError> {
        let snapshot = self.rules();
        if let Some(grant) = snapshot.as_ref().and_then(|snapshot| snapshot.grant(key)) {
            return Ok(Pass::new(snapshot.as_deref(), grant, key.to_owned()));
        }
        let wanted = Wanted {
            key: key.to_owned(),
            is_name: false,
        };
        let mut passes = self.passes([(String::new(), wanted)]).await;
        passes.remove("").unwrap_or(Err(KeyError::Unknown))
    }

    /// What the client of a tracker may write that calls its sites by these names: each an alias of a site, or one of its
    /// keys. The aggregator is asked once for all that the snapshot does not have; of more than
    /// [`MAX_LOOKUP_KEYS`] of them the further ones count as unknown.
    pub(crate) async fn passes_of(
        &self,
        tracker: &str,
        names: impl IntoIterator<Item = String>,
    ) -> HashMap<String, Result<Pass, KeyError>> {
        let snapshot = self.rules();
        let is_key = |name: &str| {
            let known = |rules: &Arc<Rules>| rules.grant(name).is_some();
            name.starts_with("wk_")
                || name.starts_with("sk_")
                || snapshot.as_ref().is_some_and(known)
        };
        let wanted: Vec<_> = names
            .into_iter()
            .map(|name| {
                let wanted = match name.as_str() {
                    "" => Wanted::default(),
                    name if is_key(name) => Wanted {
                        key: name.to_owned(),
                        is_name: false,
                    },
                    name => Wanted {
                        key: format!("{tracker}:{name}"),
                        is_name: true,
                    },
                };
                (name, wanted)
            })
            .collect();
        self.passes(wanted).await
    }

    async fn passes(
        &self,
        wanted: impl IntoIterator<Item = (String, Wanted)>,
    ) -> HashMap<String, Result<Pass, KeyError>> {
        // One look, so that version and rules are of the same snapshot.
        let snapshot = self.rules();
        let known = |wanted: &Wanted| snapshot.as_ref().and_then(|snapshot| wanted.of(snapshot));
        let (held, asked): (Vec<_>, Vec<_>) = wanted
            .into_iter()
            .map(|(name, wanted)| (name, known(&wanted), wanted))
            .partition(|(_, grant, _)| grant.is_some());
        let keys = asked
            .iter()
            .filter(|(.., wanted)| wanted.may_be())
            .map(|(.., wanted)| wanted.key.clone());
        let answers = self.ask(keys.collect()).await;
        let held = held
            .into_iter()
            .map(|(name, grant, wanted)| (name, wanted, grant.ok_or(KeyError::Unknown)));
        let asked = asked.into_iter().map(|(name, _, wanted)| {
            let answer = answers.get(&wanted.key).cloned();
            (name, wanted, answer.unwrap_or(Err(KeyError::Unknown)))
        });
        let pass = |wanted: Wanted, grant: Grant| {
            let payer = if wanted.is_name {
                String::new()
            } else {
                wanted.key
            };
            Pass::new(snapshot.as_deref(), grant, payer)
        };
        held.chain(asked)
            .map(|(name, wanted, grant)| (name, grant.map(|grant| pass(wanted, grant))))
            .collect()
    }

    /// What the aggregator says of keys, at once for all that it did not say a moment ago.
    async fn ask(&self, keys: HashSet<String>) -> HashMap<String, Result<Grant, KeyError>> {
        let mut found = HashMap::new();
        let mut open = self.open(keys, &mut found);
        if open.is_empty() {
            return found;
        }
        // In turn: whoever asks for many made-up keys takes no more of it than others.
        let waiting = tokio::time::timeout(ASK_TIMEOUT, self.asking.acquire()).await;
        let Ok(Ok(_turn)) = waiting else {
            found.extend(open.into_iter().map(|key| (key, Err(KeyError::CannotAsk))));
            return found;
        };
        // Others may have asked for the same meanwhile.
        open = self.open(open.into_iter().collect(), &mut found);
        if open.is_empty() {
            return found;
        }
        let mut client = ConfigClient::new(self.upstream.channel());
        let request = self
            .upstream
            .request(v1::LookupKeysRequest { keys: open.clone() });
        let replies = match tokio::time::timeout(ASK_TIMEOUT, client.lookup_keys(request)).await {
            Ok(Ok(reply)) => reply.into_inner().replies,
            Ok(Err(error)) => {
                tracing::debug!(error = error.message(), code = %error.code(), "ask for keys");
                Vec::new()
            }
            Err(_) => Vec::new(),
        };
        let mut replies = replies.into_iter();
        for key in open {
            let answer = match replies.next() {
                None => Err(KeyError::CannotAsk),
                Some(reply) => {
                    // A key without its site can't be used; one that says another site than its own is not believed.
                    let grant = match (&reply.key, &reply.site) {
                        (Some(key), Some(site)) if key.site == site.id => Some(Grant::from(key)),
                        _ => None,
                    };
                    self.keep(&key, grant.clone());
                    grant.ok_or(KeyError::Unknown)
                }
            };
            found.insert(key, answer);
        }
        found
    }

    /// Those of `keys` that have to be asked for; what is known of the others is put into `found`.
    fn open(
        &self,
        keys: HashSet<String>,
        found: &mut HashMap<String, Result<Grant, KeyError>>,
    ) -> Vec<String> {
        let now = Instant::now();
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = Vec::new();
        for key in keys {
            let answer = answers.get(&key).filter(|answer| answer.until > now);
            if let Some(answer) = answer {
                found.insert(key, answer.grant.clone().ok_or(KeyError::Unknown));
            } else if key.is_empty() || key.len() > MAX_KEY_BYTES || open.len() == MAX_LOOKUP_KEYS {
                found.insert(key, Err(KeyError::Unknown));
            } else {
                open.push(key);
            }
        }
        open
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
