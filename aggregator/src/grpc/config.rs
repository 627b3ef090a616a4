//! `Config`: tells collectors of sites and keys.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use wakeline_proto::limits::MAX_LOOKUP_KEYS;
use wakeline_proto::v1::config_server::Config;
use wakeline_proto::v1::{
    Alias, ConfirmReply, ConfirmRequest, Key, KeyKind, LookupKeyReply, LookupKeyRequest,
    LookupKeysReply, LookupKeysRequest, Salt, Site, Snapshot, WatchRequest,
};

use super::Token;
use crate::control::{self, Control, ControlSnapshot};
use crate::followers::Followers;

pub(super) struct ConfigService {
    pub(super) control: Arc<Control>,
    pub(super) followers: Arc<Followers>,
    pub(super) partitions: u16,
    pub(super) token: Token,
    pub(super) shutdown: CancellationToken,
}

#[tonic::async_trait]
impl Config for ConfigService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<Snapshot, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.token.check(request.metadata())?;
        let held = request.get_ref().version;
        let partitions = u32::from(self.partitions);
        let following = self.followers.begin(request.get_ref().edge);
        // A version from the future is of another control store: it is replaced at once.
        let newest = self.control.snapshot().version;
        let snapshots = WatchStream::new(self.control.watch())
            .filter(move |snapshot| std::future::ready(snapshot.version > held || held > newest))
            .map(move |snapshot| {
                // It follows as long as this stream is held.
                let _ = &following;
                Ok(to_proto(&snapshot, partitions))
            })
            .take_until(self.shutdown.clone().cancelled_owned());
        Ok(Response::new(Box::pin(snapshots)))
    }

    async fn confirm(
        &self,
        request: Request<ConfirmRequest>,
    ) -> Result<Response<ConfirmReply>, Status> {
        self.token.check(request.metadata())?;
        let ConfirmRequest { edge, version } = *request.get_ref();
        self.followers.confirm(edge, version);
        Ok(Response::new(ConfirmReply {}))
    }

    async fn lookup_key(
        &self,
        request: Request<LookupKeyRequest>,
    ) -> Result<Response<LookupKeyReply>, Status> {
        self.token.check(request.metadata())?;
        let snapshot = self.control.snapshot();
        Ok(Response::new(look_up(&snapshot, &request.get_ref().key)))
    }

    async fn lookup_keys(
        &self,
        request: Request<LookupKeysRequest>,
    ) -> Result<Response<LookupKeysReply>, Status> {
        self.token.check(request.metadata())?;
        let snapshot = self.control.snapshot();
        let keys = request.get_ref().keys.iter().take(MAX_LOOKUP_KEYS);
        let replies = keys.map(|key| look_up(&snapshot, key)).collect();
        Ok(Response::new(LookupKeysReply { replies }))
    }
}

fn look_up(snapshot: &ControlSnapshot, wanted: &str) -> LookupKeyReply {
    let key = snapshot.keys.iter().find(|key| key.key == wanted);
    let key = key.map(self::key).or_else(|| name(snapshot, wanted));
    LookupKeyReply {
        site: key
            .as_ref()
            .and_then(|key| snapshot.site(key.site))
            .map(|site| self::site(site, snapshot)),
        key,
    }
}

/// A name that another tracker has for a site writes like a public key.
fn name(snapshot: &ControlSnapshot, wanted: &str) -> Option<Key> {
    let alias: control::Alias = wanted.parse().ok()?;
    let site = snapshot
        .sites
        .iter()
        .find(|site| alias.is_domain_of(site) || site.aliases.contains(&alias))?;
    Some(Key {
        key: wanted.to_owned(),
        site: site.id,
        kind: KeyKind::Write.into(),
        apps: Vec::new(),
    })
}

fn to_proto(snapshot: &ControlSnapshot, partitions: u32) -> Snapshot {
    Snapshot {
        version: snapshot.version,
        partitions,
        sites: snapshot
            .sites
            .iter()
            .map(|one| site(one, snapshot))
            .collect(),
        keys: snapshot.keys.iter().map(key).collect(),
    }
}

fn site(site: &control::Site, snapshot: &ControlSnapshot) -> Site {
    Site {
        id: site.id,
        domain: site.domain.clone(),
        timezone: site.timezone.clone(),
        rules: Some((&snapshot.rules(site.id).rules).into()),
        aliases: site
            .aliases
            .iter()
            .map(|alias| Alias {
                tracker: alias.tracker.clone(),
                id: alias.id.clone(),
            })
            .collect(),
        salts: site
            .salts
            .iter()
            .map(|salt| Salt {
                from: salt.from as u64,
                salt: salt.bytes.clone().into(),
            })
            .collect(),
        currency: site.currency.clone(),
        redaction_salt: site.redaction_salt.to_bytes(),
    }
}

fn key(key: &control::Key) -> Key {
    let kind = match key.kind {
        control::KeyKind::Write => KeyKind::Write,
        control::KeyKind::Server => KeyKind::Server,
    };
    Key {
        key: key.key.clone(),
        site: key.site,
        kind: kind.into(),
        apps: key.apps.clone(),
    }
}
