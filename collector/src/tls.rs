//! TLS at the doors, by rustls: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN.
//!
//! Certificate and key are files, looked at every few seconds: a pair that was renewed serves the next connection, without
//! a restart. A pair that can't be used leaves the one that serves, and is said in the log.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What ALPN calls HTTP/2.
pub(crate) const H2: &[u8] = b"h2";

/// Why certificate and key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or is no PEM of what it should have.
    #[error("{0} can't be read as PEM: {1}")]
    Pem(PathBuf, #[source] pem::Error),
    /// The file of certificates has none.
    #[error("{0} has no certificate in PEM")]
    NoCertificate(PathBuf),
    /// Certificate and key don't fit each other, or are of a kind that is not known.
    #[error("{cert_file} and {key_file} can't be used together: {source}")]
    Pair {
        /// The certificates.
        cert_file: PathBuf,
        /// The key.
        key_file: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// The TLS library refuses its settings.
    #[error("set TLS up")]
    Settings(#[source] rustls::Error),
}

/// A certificate that may change, and what it serves. Clones share it.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    pair: Arc<Pair>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.pair.cert_file.fmt(f)
    }
}

/// The files, and what was last read of them.
#[derive(Debug)]
struct Pair {
    cert_file: PathBuf,
    key_file: PathBuf,
    served: RwLock<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Pair {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let served = self.served.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&served))
    }
}

/// When both files were written.
type Stamps = [Option<SystemTime>; 2];

impl Tls {
    /// Reads the certificate, with those that lead to it behind it, and its key, both PEM.
    pub fn open(cert_file: &Path, key_file: &Path) -> Result<Self, TlsError> {
        let pair = Arc::new(Pair {
            served: RwLock::new(Arc::new(read(cert_file, key_file)?)),
            cert_file: cert_file.to_owned(),
            key_file: key_file.to_owned(),
        });
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Settings)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&pair) as _);
        config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            pair,
        })
    }

    /// Shakes hands; how long that may take is the caller's business.
    pub(crate) async fn accept<S>(&self, stream: S) -> std::io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.acceptor.accept(stream).await
    }

    /// Takes the files anew whenever they change, until `stop` fires.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        let mut seen = self.pair.stamps();
        while stop
            .run_until_cancelled(tokio::time::sleep(LOOK_EVERY))
            .await
            .is_some()
        {
            let pair = Arc::clone(&self.pair);
            let looked = tokio::task::spawn_blocking(move || {
                let stamps = pair.stamps();
                if stamps != seen {
                    pair.reload();
                }
                stamps
            });
            if let Ok(stamps) = looked.await {
                seen = stamps;
            }
        }
    }
}

impl Pair {
    fn stamps(&self) -> Stamps {
        [&self.cert_file, &self.key_file].map(|path| {
            let file = std::fs::metadata(path).ok()?;
            file.modified().ok()
        })
    }

    fn reload(&self) {
        match read(&self.cert_file, &self.key_file) {
            Ok(pair) => {
                tracing::info!(file = %self.cert_file.display(), "new certificate");
                let mut served = self.served.write().unwrap_or_else(PoisonError::into_inner);
                *served = Arc::new(pair);
            }
            // Perhaps only one of both is new yet.
            Err(error) => tracing::warn!(%error, "the certificate stays as it was"),
        }
    }
}

fn read(cert_file: &Path, key_file: &Path) -> Result<CertifiedKey, TlsError> {
    let certificates = CertificateDer::pem_file_iter(cert_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| TlsError::Pem(cert_file.to_owned(), error))?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate(cert_file.to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(key_file)
        .map_err(|error| TlsError::Pem(key_file.to_owned(), error))?;
    CertifiedKey::from_der(certificates, key, &ring::default_provider()).map_err(|source| {
        TlsError::Pair {
            cert_file: cert_file.to_owned(),
            key_file: key_file.to_owned(),
            source,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a certificate that signs itself, and its key.
    fn write(folder: &Path) -> (PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (cert, key)
    }

    fn served(tls: &Tls) -> Vec<u8> {
        tls.pair.served.read().unwrap().cert[0].to_vec()
    }

    #[test]
    fn a_pair_that_does_not_fit_leaves_the_one_that_serves() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (cert, key) = write(folder.path());
        let tls = Tls::open(&cert, &key).unwrap();
        let first = served(&tls);
        let (new_cert, new_key) = write(other.path());
        std::fs::copy(new_cert, &cert).unwrap();
        tls.pair.reload();
        assert_eq!(served(&tls), first, "the key is not there yet");
        std::fs::copy(new_key, &key).unwrap();
        tls.pair.reload();
        assert_ne!(served(&tls), first);
    }

    #[test]
    fn what_is_wrong_with_the_files_is_said_with_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = write(folder.path());
        let absent = folder.path().join("absent.pem");
        let message = |cert, key| Tls::open(cert, key).unwrap_err().to_string();
        assert!(message(&absent, &key).contains("absent.pem"));
        assert!(message(&key, &key).contains("no certificate"));
        assert!(message(&cert, &cert).contains("cert.pem"));
        std::fs::write(&key, write_other_key()).unwrap();
        assert!(message(&cert, &key).contains("together"));
    }

    fn write_other_key() -> String {
        rcgen::KeyPair::generate().unwrap().serialize_pem()
    }
}
