//! Ways to a Redis: a connection to one server, or to a cluster, that comes back by itself.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use ::redis::cluster::{ClusterClient, ClusterConfig};
use ::redis::cluster_async::ClusterConnection;
use ::redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use ::redis::{
    Client, Cmd, ConnectionInfo, ErrorKind, FromRedisValue, IntoConnectionInfo as _, Pipeline,
    RedisError, RedisFuture, RedisResult, ServerErrorKind, TlsCertificates, Value,
};

use super::server::RedisStateError;

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// A lost connection is tried again once after this; whoever asked waits longer and longer before the next time.
const RECONNECT: Duration = Duration::from_millis(50);
/// How often a request follows a slot that moved, or waits for a replica that takes over, before it fails.
const CLUSTER_RETRIES: u32 = 8;
/// Longest wait between these, in ms.
const CLUSTER_WAIT_MS: u64 = 500;

/// Keys that a server looks at for one answer.
const KEYS_AT_ONCE: u32 = 1_000;
const DEFAULT_PORT: u16 = 6379;

/// What `state.url` leads to.
enum Target {
    Server(Box<Client>),
    Cluster(Box<ClusterClient>),
}

/// Makes connections.
pub(super) struct Links {
    target: Target,
    /// The servers, without user and password.
    name: String,
}

impl Links {
    /// Reads `redis[s]://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`, or `redis[s]+cluster://` with any number of
    /// `HOST[:PORT]`, separated by commas. `ca`: a file with the certificates that a TLS server's has to lead to, PEM.
    pub(super) fn new(url: &str, ca: Option<&Path>) -> Result<Self, RedisStateError> {
        let root_cert = ca.map(std::fs::read).transpose();
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: root_cert.map_err(RedisStateError::Ca)?,
        };
        let (nodes, cluster) = nodes(url);
        let nodes: Vec<ConnectionInfo> = nodes
            .iter()
            .map(|node| node.as_str().into_connection_info())
            .collect::<Result<_, _>>()
            .map_err(RedisStateError::Url)?;
        let addresses: Vec<String> = nodes.iter().map(|node| node.addr().to_string()).collect();
        let name = addresses.join(",");
        let target = if cluster {
            let mut builder = ClusterClient::builder(nodes)
                .retries(CLUSTER_RETRIES)
                .max_retry_wait(CLUSTER_WAIT_MS)
                .overall_response_timeout(Some(2 * ANSWER));
            if ca.is_some() {
                builder = builder.certs(certificates);
            }
            Target::Cluster(Box::new(builder.build().map_err(RedisStateError::Url)?))
        } else {
            let node = nodes.into_iter().next().ok_or(RedisStateError::NoServer)?;
            let client = if ca.is_some() {
                Client::build_with_tls(node, certificates)
            } else {
                Client::open(node)
            };
            Target::Server(Box::new(client.map_err(RedisStateError::Url)?))
        };
        Ok(Self { target, name })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn connect(&self) -> Result<Link, RedisStateError> {
        match &self.target {
            Target::Server(client) => {
                let config = ConnectionManagerConfig::new()
                    .set_connection_timeout(Some(CONNECT))
                    .set_response_timeout(Some(ANSWER))
                    .set_number_of_retries(1)
                    .set_min_delay(RECONNECT);
                ConnectionManager::new_lazy_with_config(Client::clone(client), config)
                    .map(Link::Server)
                    .map_err(RedisStateError::Url)
            }
            Target::Cluster(client) => {
                let config = ClusterConfig::new()
                    .set_connection_timeout(CONNECT)
                    .set_response_timeout(ANSWER);
                Ok(Link::Cluster(
                    client.get_pending_async_connection_with_config(config),
                ))
            }
        }
    }
}

/// The addresses of a URL, and whether they are of a cluster.
fn nodes(url: &str) -> (Vec<String>, bool) {
    let Some((scheme, rest)) = url.split_once("+cluster://") else {
        return (vec![url.to_owned()], false);
    };
    let (user, hosts) = rest
        .rsplit_once('@')
        .map_or(("", rest), |(user, hosts)| (&rest[..=user.len()], hosts));
    let node = |host: &str| format!("{scheme}://{user}{host}");
    (hosts.split(',').map(node).collect(), true)
}

/// A connection; clones share it.
#[derive(Clone)]
pub(super) enum Link {
    Server(ConnectionManager),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Server(link) => link.req_packed_command(cmd),
            Self::Cluster(link) => link.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Server(link) => link.req_packed_commands(commands, offset, count),
            Self::Cluster(link) => link.req_packed_commands(commands, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Server(link) => link.get_db(),
            Self::Cluster(link) => link.get_db(),
        }
    }
}

/// A connection that is replaced when it is of no use any more.
pub(super) struct Line(Mutex<Link>);

impl Line {
    pub(super) fn new(links: &Links) -> Result<Self, RedisStateError> {
        Ok(Self(Mutex::new(links.connect()?)))
    }

    /// Connections are shared: many requests are on their way at a time.
    pub(super) fn link(&self) -> Link {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What `error` of a request means for the next one, and in words.
    pub(super) fn failed(&self, links: &Links, error: RedisError) -> RedisStateError {
        // A primary that became a replica keeps its connections, a server that is gone without a word leaves them open,
        // and a manager does not try again after a wrong password: look anew for what is behind the name. Should the
        // old connection still deliver a commit, the fence takes care of it.
        let for_good = error.is_timeout()
            || matches!(
                error.kind(),
                ErrorKind::Server(ServerErrorKind::ReadOnly) | ErrorKind::AuthenticationFailed
            );
        if for_good && let Ok(new) = links.connect() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = new;
        }
        RedisStateError::of(links.name.clone(), error)
    }

    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        links: &Links,
        command: &Cmd,
    ) -> Result<T, RedisStateError> {
        let answer = command.query_async(&mut self.link()).await;
        answer.map_err(|error| self.failed(links, error))
    }

    /// The commands have to be about one partition: a cluster takes a pipeline of one slot.
    pub(super) async fn ask_all<T: FromRedisValue>(
        &self,
        links: &Links,
        commands: &Pipeline,
    ) -> Result<T, RedisStateError> {
        let answers = commands.query_async(&mut self.link()).await;
        answers.map_err(|error| self.failed(links, error))
    }

    /// The keys that look like `pattern`, of all servers that take writes. One that comes or goes meanwhile may be left out.
    pub(super) async fn keys(
        &self,
        links: &Links,
        pattern: &str,
    ) -> Result<Vec<Vec<u8>>, RedisStateError> {
        let servers = match self.link() {
            Link::Server(_) => vec![links.name.clone()],
            Link::Cluster(_) => {
                let servers = self.info(links).await?;
                servers.into_iter().map(|(server, _)| server).collect()
            }
        };
        let mut keys = Vec::new();
        for server in servers {
            let mut cursor = 0_u64;
            loop {
                let mut command = ::redis::cmd("SCAN");
                command.arg(cursor).arg("MATCH").arg(pattern);
                command.arg("COUNT").arg(KEYS_AT_ONCE);
                let answer = self.ask_one(&server, command).await;
                let (next, some): (u64, Vec<Vec<u8>>) =
                    answer.map_err(|error| self.failed(links, error))?;
                keys.extend(some);
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        // A server may name a key twice.
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// Asks the server at `HOST:PORT`, where there are several.
    async fn ask_one<T: FromRedisValue>(&self, server: &str, command: Cmd) -> RedisResult<T> {
        match self.link() {
            Link::Server(mut link) => command.query_async(&mut link).await,
            Link::Cluster(mut link) => {
                let (host, port) = server.rsplit_once(':').unwrap_or((server, ""));
                let to = SingleNodeRoutingInfo::ByAddress {
                    host: host.to_owned(),
                    port: port.parse().unwrap_or(DEFAULT_PORT),
                };
                let answer = link.route_command(command, RoutingInfo::SingleNode(to));
                Ok(T::from_redis_value(answer.await?)?)
            }
        }
    }

    /// The answers of all servers that take writes to `INFO`, each with the server's name.
    pub(super) async fn info(
        &self,
        links: &Links,
    ) -> Result<Vec<(String, String)>, RedisStateError> {
        let command = ::redis::cmd("INFO");
        let answers = match self.link() {
            Link::Server(mut link) => command
                .query_async(&mut link)
                .await
                .map(|text| vec![(links.name.clone(), text)]),
            Link::Cluster(mut link) => {
                let primaries = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                match link.route_command(command, primaries).await {
                    Ok(answers) => Vec::from_redis_value(answers).map_err(Into::into),
                    Err(error) => Err(error),
                }
            }
        };
        answers.map_err(|error| self.failed(links, error))
    }
}

#[cfg(test)]
mod tests {
    use super::{Links, nodes};

    #[test]
    fn every_server_of_a_cluster_gets_the_user_and_the_scheme() {
        let (found, cluster) = nodes("rediss+cluster://me:a@b@one:1,two:2");
        assert!(cluster);
        assert_eq!(found, ["rediss://me:a@b@one:1", "rediss://me:a@b@two:2"]);
        let (found, cluster) = nodes("redis://one/3");
        assert!(!cluster);
        assert_eq!(found, ["redis://one/3"]);
    }

    #[tokio::test]
    async fn names_have_no_password() {
        for url in [
            "redis://:hunter2@one:7",
            "redis+cluster://:hunter2@one:7,two:8",
        ] {
            let links = Links::new(url, None).unwrap();
            assert!(links.name().starts_with("one:7"), "{}", links.name());
            assert!(!links.name().contains("hunter2"));
        }
    }
}
