//! What types can't say of a configuration.

use std::net::IpAddr;

use wakeline_proto::limits;

use super::load::Problem;
use super::{Config, Secret};

impl Config {
    /// All that is wrong.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let checks = [
            self.http_checks(),
            self.upstream_checks(),
            self.limit_checks(),
        ];
        checks
            .into_iter()
            .flatten()
            .filter(|(_, ok, _)| !ok)
            .map(|(key, _, what)| Problem {
                key: key.to_owned(),
                what: what.to_owned(),
            })
            .collect()
    }

    fn http_checks(&self) -> Vec<Check> {
        let http = &self.http;
        let prefix_ok = http.prefix.is_empty()
            || http
                .prefix
                .strip_prefix('/')
                .is_some_and(|rest| rest.split('/').all(is_name));
        vec![
            (
                "http.prefix",
                prefix_ok,
                "must be empty, or `/` and a name of letters, digits, `-`, `_`, `.`",
            ),
            (
                "http.header_timeout_ms",
                between(http.header_timeout_ms, 100, 600_000),
                "must be 100 to 600000",
            ),
            (
                "http.body_timeout_ms",
                between(http.body_timeout_ms, 100, 600_000),
                "must be 100 to 600000",
            ),
            (
                "http.head_bytes",
                (8 << 10..=1 << 20).contains(&http.head_bytes),
                "must be 8192 to 1048576",
            ),
            (
                "http.cert_file",
                http.cert_file.is_some() == http.key_file.is_some(),
                "needs http.key_file, and the other way round",
            ),
            (
                "http.metrics_token",
                is_printable(&http.metrics_token),
                "must be printable ASCII",
            ),
            (
                "http.max_connections",
                http.max_connections > 0,
                "must be at least 1",
            ),
            (
                "enrich.client_ip_header",
                self.enrich.client_ip_header.is_empty() || is_name(&self.enrich.client_ip_header),
                "must be empty or the name of a header",
            ),
            (
                "enrich.trusted_hops",
                (1..=16).contains(&self.enrich.trusted_hops),
                "must be 1 to 16",
            ),
            (
                "sdk.script",
                is_name(&self.sdk.script) && !self.sdk.script.starts_with('.'),
                "must be a file name",
            ),
        ]
    }

    fn upstream_checks(&self) -> Vec<Check> {
        let upstream = &self.upstream;
        let tls = upstream.url.starts_with("https://");
        vec![
            (
                "upstream.url",
                upstream_uri(&upstream.url).is_some(),
                "must be http://HOST:PORT or https://HOST:PORT",
            ),
            (
                "upstream.url",
                tls || upstream.insecure || is_loopback(&upstream.url),
                "goes to another machine without TLS; use https://, or set upstream.insecure",
            ),
            (
                "upstream.cert_file",
                upstream.cert_file.is_some() == upstream.key_file.is_some(),
                "needs upstream.key_file, and the other way round",
            ),
            (
                "upstream.token",
                is_printable(&upstream.token),
                "must be printable ASCII",
            ),
            (
                "upstream.ack_timeout_ms",
                between(upstream.ack_timeout_ms, 1_000, 600_000),
                "must be 1000 to 600000",
            ),
        ]
    }

    fn limit_checks(&self) -> Vec<Check> {
        let (spool, set) = (&self.spool, &self.limits);
        vec![
            (
                "spool.segment_bytes",
                between(spool.segment_bytes, 1 << 20, 1 << 30),
                "must be 1 MiB to 1 GiB",
            ),
            (
                "spool.max_bytes",
                spool.max_bytes / 2 >= spool.segment_bytes && spool.max_bytes > spool.reserve_bytes,
                "must hold two segments and be more than spool.reserve_bytes",
            ),
            (
                "limits.body_bytes",
                set.body_bytes <= limits::MAX_BODY_BYTES,
                "must be at most 1 MiB",
            ),
            (
                "limits.decoded_bytes",
                set.decoded_bytes <= limits::MAX_DECODED_BYTES,
                "must be at most 4 MiB",
            ),
            (
                "limits.events",
                set.events <= limits::MAX_EVENTS_PER_BATCH,
                "must be at most 1000",
            ),
            (
                "limits.in_flight_bytes",
                set.in_flight_bytes >= set.body_bytes,
                "must be at least limits.body_bytes",
            ),
        ]
    }
}

/// A key, whether its value is fine, and what is wrong if not.
type Check = (&'static str, bool, &'static str);

fn is_printable(secret: &Secret) -> bool {
    let text = secret.reveal().unwrap_or_default();
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn between(value: u64, low: u64, high: u64) -> bool {
    (low..=high).contains(&value)
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn upstream_uri(url: &str) -> Option<tonic::transport::Uri> {
    let uri: tonic::transport::Uri = url.parse().ok()?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    (known && uri.host().is_some_and(|host| !host.is_empty())).then_some(uri)
}

fn is_loopback(url: &str) -> bool {
    let Some(uri) = upstream_uri(url) else {
        return true; // its own problem is reported
    };
    let host = uri.host().unwrap_or_default();
    host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}
