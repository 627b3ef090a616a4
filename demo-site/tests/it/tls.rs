//! Collectors that reach the aggregator by mTLS: with a certificate of the operator's, and not otherwise.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wakeline_aggregator::Aggregator;
use wakeline_aggregator::control::NewSite;
use wakeline_collector::{Collector, ServeOptions, serve};
use wakeline_testbed::eventually;

const IN_TIME: Duration = Duration::from_secs(30);
const EVENT: &str = r#"{"type":"page_view","visitor":"v","url":"https://shop.example/"}"#;

/// Who signs certificates, and the file of its own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
    folder: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let file = folder.join(format!("{name}.pem"));
        std::fs::write(&file, params.self_signed(&key)?.pem())?;
        Ok(Self {
            issuer: Issuer::new(params, key),
            file,
            folder: folder.to_owned(),
        })
    }

    /// The files of a certificate of the loopback address and of its key.
    fn sign(&self, name: &str) -> anyhow::Result<(Option<PathBuf>, Option<PathBuf>)> {
        let key = KeyPair::generate()?;
        let params = CertificateParams::new(["127.0.0.1".to_owned()])?;
        let cert_file = self.folder.join(format!("{name}.cert.pem"));
        let key_file = self.folder.join(format!("{name}.key.pem"));
        std::fs::write(&cert_file, params.signed_by(&key, &self.issuer)?.pem())?;
        std::fs::write(&key_file, key.serialize_pem())?;
        Ok((Some(cert_file), Some(key_file)))
    }
}

/// A collector on a port of its own, and how to reach it.
struct Edge {
    collector: Collector,
    url: String,
    /// Dropped, it stops serving.
    _serving: tokio_util::sync::DropGuard,
}

impl Edge {
    async fn start(
        upstream: String,
        data: PathBuf,
        ca: &Authority,
        own: (Option<PathBuf>, Option<PathBuf>),
    ) -> anyhow::Result<Self> {
        let mut config = wakeline_collector::Config {
            data,
            ..wakeline_collector::Config::default()
        };
        config.upstream.url = upstream;
        config.upstream.ca_file = Some(ca.file.clone());
        (config.upstream.cert_file, config.upstream.key_file) = own;
        let options = ServeOptions::open(&config.http)?;
        let collector = Collector::start(config).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/w/1/events", listener.local_addr()?);
        let stop = CancellationToken::new();
        let answers = collector.entrance(collector.alone());
        tokio::spawn(serve(listener, answers, options, stop.clone()));
        Ok(Self {
            collector,
            url,
            _serving: stop.drop_guard(),
        })
    }

    async fn post(&self, http: &reqwest::Client, key: &str) -> anyhow::Result<u16> {
        let request = http.post(&self.url).bearer_auth(key).body(EVENT);
        Ok(request.send().await?.status().as_u16())
    }
}

#[tokio::test]
async fn a_collector_pushes_by_mtls_and_one_without_a_certificate_that_is_known_does_not()
-> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let ca = Authority::new(folder.path(), "operator")?;
    let other = Authority::new(folder.path(), "somebody")?;
    let mut config = wakeline_aggregator::Config {
        data: folder.path().join("aggregator"),
        ..wakeline_aggregator::Config::default()
    };
    config.http.listen.set_port(0);
    config.grpc.listen.set_port(0);
    (config.grpc.cert_file, config.grpc.key_file) = ca.sign("aggregator")?;
    config.grpc.client_ca_file = Some(ca.file.clone());
    let aggregator = Aggregator::start(config).await?;
    let site = aggregator.control().create_site(&NewSite {
        domain: "shop.example".parse()?,
        timezone: "UTC".parse()?,
        currency: "EUR".parse()?,
        session_gap: "30".parse()?,
    })?;
    let key = site.write_key.as_str();
    let url = format!("https://{}", aggregator.grpc_addr());
    let http = reqwest::Client::builder().no_proxy().build()?;

    let known = ca.sign("collector")?;
    let start = |name: &str, own| Edge::start(url.clone(), folder.path().join(name), &ca, own);
    let edge = start("edge", known).await?;
    eventually("the collector knows the key", IN_TIME, || async {
        Ok((edge.post(&http, key).await? == 202).then_some(()))
    })
    .await?;
    eventually("the event is acknowledged", IN_TIME, || async {
        Ok((edge.collector.backlog() == 0).then_some(()))
    })
    .await?;

    let foreign = other.sign("stranger")?;
    for (name, own) in [("without", (None, None)), ("foreign", foreign)] {
        let stranger = start(name, own).await?;
        assert_eq!(stranger.post(&http, key).await?, 503, "{name}");
    }
    let plain = format!("http://{}", aggregator.grpc_addr());
    let stranger = Edge::start(plain, folder.path().join("plain"), &ca, (None, None)).await?;
    assert_eq!(stranger.post(&http, key).await?, 503);
    aggregator.shutdown(IN_TIME).await;
    Ok(())
}
