//! TLS at the door of collectors, by rustls; with mTLS only who has a certificate of the operator's may come in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use crate::config::GrpcConfig;

/// Why TLS can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("read {}", .0.display())]
    File(PathBuf, #[source] std::io::Error),
    /// What the files hold can't be used.
    #[error(
        "grpc.cert_file, grpc.key_file and grpc.client_ca_file can't be used together: they have to be PEM, and the key \
         the certificate's"
    )]
    Unusable(#[source] tonic::transport::Error),
}

/// What is configured; `None`: without TLS. A handshake has to be over within `patience`.
pub(crate) fn tls(
    config: &GrpcConfig,
    patience: Duration,
) -> Result<Option<ServerTlsConfig>, TlsError> {
    let (Some(cert), Some(key)) = (&config.cert_file, &config.key_file) else {
        return Ok(None);
    };
    let mut tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(read(cert)?, read(key)?))
        .timeout(patience);
    if let Some(ca) = &config.client_ca_file {
        tls = tls.client_ca_root(Certificate::from_pem(read(ca)?));
    }
    Ok(Some(tls))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::File(path.to_owned(), error))
}
