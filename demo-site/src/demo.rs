//! The demo: the SDK's build, both servers and the shop, in one process.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wakeline_aggregator::{
    Aggregator,
    admin::{AdminRequest, CreateSite, KeyRequest, SiteRequest, TokenRequest},
};
use wakeline_collector::{Collector, ServeOptions};
use wakeline_testbed::{Grafana, Influx, Redis};

use crate::shop::{self, Shop};

/// The demo's one site.
const DOMAIN: &str = "shop.example";
const TOKEN_NAME: &str = "demo";
const DEADLINE: Duration = Duration::from_secs(10);

/// How to run the demo.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder of all state: `aggregator/` and `collector/` in it.
    pub data: PathBuf,
    /// Folder for the built SDK.
    pub sdk: PathBuf,
    /// Whether state is in a real Redis and metrics in a real InfluxDB, started for the demo with their files in `data`.
    pub real: bool,
    /// Database of places, where the configuration names none. It may come later.
    pub places: Option<PathBuf>,
}

/// Where everything is, once it runs.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The shop and the collector.
    pub shop: String,
    /// The dashboard, with a sign-in in its fragment.
    pub dashboard: String,
    /// The key that the shop's pages send with.
    pub write_key: String,
    /// The key that servers send with.
    pub server_key: String,
    /// Servers that were started beside: name and what is worth knowing.
    pub servers: Vec<(&'static str, String)>,
}

/// Servers that are ended when the demo is.
struct Real {
    grafana: Option<Grafana>,
    influx: Influx,
    redis: Redis,
}

impl Real {
    async fn start(data: &Path) -> anyhow::Result<Self> {
        // InfluxDB first: of two demos on one folder, its lock stops the second.
        let influx = Influx::start_in(&data.join("influxdb"))
            .await
            .context("start InfluxDB")?;
        let redis = Redis::start_in(&data.join("redis")).context("start Redis")?;
        let bucket = wakeline_aggregator::config::MetricsConfig::default().bucket;
        let grafana = Grafana::start_in(&data.join("grafana"), &influx, &bucket);
        Ok(Self {
            grafana: grafana.context("start Grafana")?,
            influx,
            redis,
        })
    }

    fn configure(&self, config: &mut wakeline_aggregator::config::Config) {
        config.state.url = Some(self.redis.url());
        config.metrics.url = Some(self.influx.url());
        self.influx.org().clone_into(&mut config.metrics.org);
        config.metrics.token = Some(self.influx.token().to_owned());
    }

    fn servers(&self) -> Vec<(&'static str, String)> {
        let (influx, token) = (self.influx.url(), self.influx.token());
        let grafana = self.grafana.as_ref().map_or_else(
            || "not started: grafana-server and grafana are not on PATH".to_owned(),
            Grafana::url,
        );
        vec![
            ("redis", self.redis.url()),
            ("influxdb", format!("{influx}  token {token}")),
            ("grafana", grafana),
        ]
    }
}

/// Builds the SDK, starts everything, tells `ready` where it is, and runs until `shutdown` fires.
///
/// # Errors
/// If the SDK can't be built, a port is taken, or the folder is in use.
pub async fn run(
    options: Options,
    shutdown: CancellationToken,
    ready: impl FnOnce(&Addresses),
) -> anyhow::Result<()> {
    let sdk = options.sdk.clone();
    let package = tokio::task::spawn_blocking(move || {
        wakeline_bundle::build(&sdk, &wakeline_bundle::Options::default())
    })
    .await?
    .context("build the browser SDK")?;

    let mut edge =
        wakeline_collector::Config::load(None, "WAKELINE_COLLECTOR__", std::env::vars(), &[])?;
    let listener = TcpListener::bind(edge.http.listen)
        .await
        .with_context(|| format!("listen on {}", edge.http.listen))?;
    let serve = ServeOptions::open(&edge.http)?;
    let shop = format!("{}://{}/", serve.scheme(), listener.local_addr()?);

    let mut centre = wakeline_aggregator::config::Config::load(
        None,
        "WAKELINE_AGGREGATOR__",
        std::env::vars(),
        [],
    )?;
    centre.data = options.data.join("aggregator");
    centre
        .http
        .collector_url
        .get_or_insert_with(|| shop.trim_end_matches('/').to_owned());
    let real = if options.real {
        let real = Real::start(&options.data).await?;
        real.configure(&mut centre);
        Some(real)
    } else {
        None
    };
    let aggregator = Aggregator::start(centre).await?;

    edge.data = options.data.join("collector");
    edge.upstream.url = format!("http://{}", aggregator.grpc_addr());
    edge.sdk.dir = Some(package.serve);
    edge.enrich.geoip_database = edge.enrich.geoip_database.or(options.places);
    let collector = Collector::start(edge).await?;

    let mut addresses = addresses(&aggregator, shop).await?;
    addresses.servers = real.as_ref().map_or_else(Vec::new, Real::servers);
    let pages = shop::router(Shop {
        write_key: addresses.write_key.clone(),
        dashboard: addresses.dashboard.clone(),
    });
    ready(&addresses);
    let answers = collector.entrance(collector.router().merge(pages));
    wakeline_collector::serve(listener, answers, serve, shutdown).await;

    // The aggregator last, so that the collector can still hand over what it has.
    collector.shutdown(DEADLINE).await;
    aggregator.shutdown(DEADLINE).await;
    Ok(())
}

/// Makes the site and its keys if they are not there, and a new sign-in in place of the last run's.
async fn addresses(aggregator: &Aggregator, shop: String) -> anyhow::Result<Addresses> {
    let sites = ask(aggregator, AdminRequest::Site(SiteRequest::List)).await?;
    let known = list(&sites, "sites")
        .iter()
        .any(|site| site["domain"] == DOMAIN);
    if !known {
        let new = CreateSite {
            domain: DOMAIN.to_owned(),
            timezone: jiff::tz::TimeZone::system()
                .iana_name()
                .unwrap_or("UTC")
                .to_owned(),
            currency: "EUR".to_owned(),
            session_gap: 30,
        };
        ask(aggregator, AdminRequest::Site(SiteRequest::Create(new))).await?;
    }
    let keys = ask(
        aggregator,
        AdminRequest::Key(KeyRequest::List {
            site: Some(DOMAIN.to_owned()),
        }),
    )
    .await?;
    let key = |kind: &str| {
        let found = list(&keys, "keys").iter().find(|key| key["kind"] == kind);
        found
            .and_then(|key| key["key"].as_str())
            .map(ToOwned::to_owned)
            .with_context(|| format!("{DOMAIN} has no {kind} key"))
    };
    let (write_key, server_key) = (key("write")?, key("server")?);

    let token = ask(
        aggregator,
        AdminRequest::Token(TokenRequest::Create {
            name: TOKEN_NAME.to_owned(),
            sites: Vec::new(),
        }),
    )
    .await?;
    let tokens = ask(aggregator, AdminRequest::Token(TokenRequest::List)).await?;
    for old in list(&tokens, "tokens")
        .iter()
        .filter(|old| old["name"] == TOKEN_NAME && old["id"] != token["id"])
    {
        let id = old["id"].as_u64().context("a token without id")?;
        ask(aggregator, AdminRequest::Token(TokenRequest::Revoke { id })).await?;
    }
    let token = token["token"].as_str().context("no token")?;
    Ok(Addresses {
        shop,
        dashboard: format!("{}#token={token}", url(aggregator.http_addr())),
        write_key,
        server_key,
        servers: Vec::new(),
    })
}

async fn ask(aggregator: &Aggregator, request: AdminRequest) -> anyhow::Result<Value> {
    aggregator
        .admin(request)
        .await
        .map_err(|error| anyhow!("set the demo's site up: {error}"))
}

fn list<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map_or(&[], Vec::as_slice)
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}/")
}
