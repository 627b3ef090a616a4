//! The way to the aggregator: one lazy channel, which connects again by itself, and the token.

use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};

use crate::config::UpstreamConfig;

/// A connection that is dead without saying so is noticed after these two.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(2);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the way to the aggregator can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The URL, the token or the TLS settings are not usable.
    #[error("upstream settings")]
    Settings(#[from] tonic::transport::Error),
    /// The token can't be sent in a header.
    #[error("upstream.token")]
    Token(#[from] tonic::metadata::errors::InvalidMetadataValue),
    /// A PEM file can't be read.
    #[error("read {0}")]
    File(std::path::PathBuf, #[source] std::io::Error),
}

/// The aggregator's gRPC, as a collector speaks to it. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Upstream {
    channel: Channel,
    authorization: Option<MetadataValue<Ascii>>,
}

impl Upstream {
    /// Sets up the channel; it connects at the first call.
    pub fn new(config: &UpstreamConfig) -> Result<Self, UpstreamError> {
        let mut endpoint = endpoint(config)?;
        if config.url.starts_with("https://") {
            let read = |path: &std::path::PathBuf| {
                std::fs::read(path).map_err(|error| UpstreamError::File(path.clone(), error))
            };
            let mut tls = ClientTlsConfig::new();
            if let Some(path) = &config.ca_file {
                tls = tls.ca_certificate(Certificate::from_pem(read(path)?));
            }
            if let (Some(cert), Some(key)) = (&config.cert_file, &config.key_file) {
                tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
            }
            endpoint = endpoint.tls_config(tls)?;
        }
        Ok(Self {
            channel: endpoint.connect_lazy(),
            authorization: authorization(config)?,
        })
    }

    /// Like [`new`](Self::new), over connections that `connector` makes, without TLS: for networks that are not TCP.
    pub fn with_connector<C>(config: &UpstreamConfig, connector: C) -> Result<Self, UpstreamError>
    where
        C: tower::Service<Uri> + Send + 'static,
        C::Response: hyper::rt::Read + hyper::rt::Write + Send + Unpin,
        C::Future: Send,
        C::Error: std::error::Error + Send + Sync + 'static,
    {
        Ok(Self {
            channel: endpoint(config)?.connect_with_connector_lazy(connector),
            authorization: authorization(config)?,
        })
    }

    /// The connection, for a client.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// `message` with the token.
    pub fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        if let Some(value) = &self.authorization {
            request
                .metadata_mut()
                .insert("authorization", value.clone());
        }
        request
    }
}

fn endpoint(config: &UpstreamConfig) -> Result<Endpoint, UpstreamError> {
    Ok(Endpoint::from_shared(config.url.clone())?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true))
}

fn authorization(config: &UpstreamConfig) -> Result<Option<MetadataValue<Ascii>>, UpstreamError> {
    let Some(token) = config.token.reveal() else {
        return Ok(None);
    };
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse()?;
    value.set_sensitive(true);
    Ok(Some(value))
}
