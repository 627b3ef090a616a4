//! What `collector/fuzz` and the replay of its corpus call: each decoder of bytes from outside, with what must hold
//! whatever they are. Not part of the library: it is there for tests and with the feature `fuzzing`.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use prost::Message as _;
use serde::de::IgnoredAny;
use wakeline_proto::schema::Schema;
use wakeline_proto::{batch, limits, v1};

use crate::config::{EnrichConfig, LimitsConfig};
use crate::enrich::{Enricher, Hints, agent, client_ip, source};
use crate::http::body::{Encoding, decompress};
use crate::http::pixel;
use crate::judge::Verdict;
use crate::judge::json::JsonBody;
use crate::judge::names::Names;
use crate::judge::native::{self, Arrival};
use crate::keys::Pass;
use crate::rules::SiteRules;
use crate::rules::limits::Payer;
use crate::rules::place::{scrub_referrer, split, without_userinfo};
use crate::rules::spam;
use crate::snapshot::Grant;

/// The clock of every request: 2026-09-21.
pub(crate) const RECEIVED_AT: u64 = 1_790_000_000_000;
/// Decompressed bytes at most.
const CAP: usize = 1 << 20;

/// A decoder, by its name.
pub type Target = (&'static str, fn(&[u8]));

/// Every decoder of bytes that anybody may send.
pub const TARGETS: &[Target] = &[
    ("batch", native_batch),
    ("events", json_events),
    ("pixel", pixel_query),
    ("ga4", crate::doors::fuzzing::request),
    ("matomo", crate::doors::fuzzing::request),
    ("plausible", crate::doors::fuzzing::request),
    ("posthog", crate::doors::fuzzing::request),
    ("rudderstack", crate::doors::fuzzing::request),
    ("segment", crate::doors::fuzzing::request),
    ("shopify", crate::doors::fuzzing::request),
    ("snowplow", crate::doors::fuzzing::request),
    ("umami", crate::doors::fuzzing::request),
    ("decompress", decompression),
    ("forwarded", forwarded),
    ("schema", schema),
    ("agent", user_agent),
    ("url", url),
    ("redact", redaction),
];

static ENRICHER: LazyLock<Arc<Enricher>> = LazyLock::new(|| {
    let folder = std::path::Path::new("/nonexistent");
    Arc::new(Enricher::open(&EnrichConfig::default(), folder))
});

/// Rules with something for every step to do.
static RULES: LazyLock<Arc<SiteRules>> = LazyLock::new(|| {
    let schema = |event: &str, reject| {
        v1::EventSchema {
        event: event.to_owned(),
        schema: r#"{"type":"object","required":["plan"],"properties":{"plan":{"enum":["a","b"]},"n":{"type":"integer","minimum":1}}}"#.to_owned(),
        reject,
    }
    };
    let rules = v1::SiteRules {
        refuse_crawlers: true,
        refuse_spam: true,
        sample_percent: 90,
        blocked_paths: vec!["/blocked*".to_owned()],
        hosts: vec!["*.example".to_owned()],
        origins: vec!["https://*.example".to_owned(), "null".to_owned()],
        kept_parameters: vec!["q".to_owned()],
        trim_trailing_slash: true,
        lower_case_paths: true,
        email: v1::Redaction::Mask.into(),
        card: v1::Redaction::Hash.into(),
        phone: v1::Redaction::Drop.into(),
        schemas: vec![schema("signup", true), schema("page_view", false)],
        ..v1::SiteRules::default()
    };
    Arc::new(SiteRules::from(&v1::Site {
        id: 1,
        domain: "shop.example".to_owned(),
        redaction_salt: vec![7; 32].into(),
        rules: Some(rules),
        ..v1::Site::default()
    }))
});

/// A request of which only the body is from outside.
pub(crate) fn arrival(server: bool) -> Arrival {
    let headers = HeaderMap::from_iter([(
        hyper::header::USER_AGENT,
        HeaderValue::from_static("Mozilla/5.0 (X11; Linux x86_64) Chrome/120.0 Safari/537.36"),
    )]);
    let peer = IpAddr::from([192, 0, 2, 1]);
    Arrival {
        pass: Pass {
            grant: Grant {
                site: 1,
                server,
                apps: None,
            },
            rules_version: 1,
            rules: Arc::clone(&RULES),
            payer: String::new(),
        },
        received_at: RECEIVED_AT,
        opted_out: false,
        sender: ENRICHER.sender(&headers, Some(peer)),
        enricher: Arc::clone(&ENRICHER),
        names: Arc::new(Names::new(&LimitsConfig::default())),
        payer: Payer::default(),
        buckets: Arc::default(),
    }
}

/// Every one of `events` has one fate: accepted, refused and kept, or refused and counted; each is in the answer and in
/// the record; what is kept of a refused event is JSON.
pub(crate) fn check(verdict: &Verdict, events: usize) {
    assert_eq!(verdict.received as usize, events, "received");
    let refused = verdict.rejected.len();
    assert_eq!(verdict.accepted as usize + refused, events, "one fate each");
    let Some((record, span)) = &verdict.record else {
        assert_eq!(events, 0, "nothing is kept");
        return;
    };
    let record = v1::SpoolRecord::decode(record.as_ref());
    assert!(record.is_ok(), "a record that can't be read");
    let record = record.unwrap_or_default();
    assert_eq!(record.headers.len(), record.groups.len());
    let (mut accepted, mut kept, mut positions) = (0, 0, 0);
    for (header, group) in record.headers.iter().zip(&record.groups) {
        let group = v1::Group::decode(group.as_ref());
        assert!(group.is_ok(), "a group that can't be read");
        let group = group.unwrap_or_default();
        assert_eq!(header.events as usize, group.events.len());
        assert!(group.visitor.len() <= limits::MAX_VISITOR_BYTES);
        accepted += group.events.len();
        kept += group.rejected.len() as u64;
        kept += group.tallies.iter().map(|tally| tally.count).sum::<u64>();
        positions += group.events.len() + group.rejected.len() + group.tallies.len();
        for event in &group.events {
            assert!(event.encoded_len() <= limits::MAX_EVENT_BYTES);
        }
        for rejected in &group.rejected {
            let payload = &rejected.payload;
            let read = serde_json::from_slice::<IgnoredAny>(payload);
            let text = String::from_utf8_lossy(payload);
            assert!(read.is_ok(), "payload {text:?} of {}", rejected.reason);
        }
    }
    assert_eq!(accepted, verdict.accepted as usize, "accepted are kept");
    assert_eq!(kept, refused as u64, "refused are kept or counted");
    assert_eq!(positions, *span as usize, "each has a position");
}

fn native_batch(bytes: &[u8]) {
    let Ok(batch) = batch::decode(bytes) else {
        return;
    };
    let events = batch.streams.iter().map(|stream| stream.events.len()).sum();
    if let Ok(verdict) = native::judge(batch, arrival(false)) {
        check(&verdict, events);
    }
}

/// The first byte says whether a server sends.
fn json_events(bytes: &[u8]) {
    let Some((first, body)) = bytes.split_first() else {
        return;
    };
    let Ok(body) = JsonBody::parse(body, 1_000) else {
        return;
    };
    let events = body.len();
    if let Ok(verdict) = body.judge(arrival(*first == b'S'), Some(b"key"), "of-day") {
        check(&verdict, events);
    }
}

fn pixel_query(bytes: &[u8]) {
    if let Ok(query) = std::str::from_utf8(bytes) {
        let referer = Some("https://shop.example/".to_owned());
        if let Ok(verdict) = pixel::judge(Some(query), referer, arrival(false)) {
            check(&verdict, 1);
        }
    }
}

/// The first byte is the encoding.
fn decompression(bytes: &[u8]) {
    let Some((first, body)) = bytes.split_first() else {
        return;
    };
    let encoding = match first {
        b'g' => Encoding::Gzip,
        b'd' => Encoding::Deflate,
        b'z' => Encoding::Zstd,
        b'b' => Encoding::Brotli,
        _ => Encoding::Sniff,
    };
    if let Ok(decoded) = decompress(encoding, Bytes::copy_from_slice(body), CAP) {
        assert!(decoded.len() <= CAP);
    }
}

/// The first byte is the number of hops; each line is a header.
fn forwarded(bytes: &[u8]) {
    let Some((first, values)) = bytes.split_first() else {
        return;
    };
    for header in ["forwarded", "x-forwarded-for", "cf-connecting-ip"] {
        let mut headers = HeaderMap::new();
        for value in values.split(|byte| *byte == b'\n').take(8) {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(header, value);
            }
        }
        let proxies = client_ip::Proxies {
            header: header.to_owned(),
            hops: usize::from(first % 8),
        };
        let peer = IpAddr::from([192, 0, 2, 1]);
        let found = client_ip::client_ip(&headers, Some(peer), &proxies);
        assert!(found.is_some(), "the peer stays");
    }
}

/// A schema and, after an empty line, properties.
fn schema(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (schema, properties) = text.split_once("\n\n").unwrap_or((text, "{}"));
    if let (Ok(schema), Ok(properties)) = (Schema::parse(schema), serde_json::from_str(properties))
    {
        let first = schema.check(&properties);
        assert_eq!(first, schema.check(&properties), "says the same again");
    }
}

/// User agent and hints, one a line.
fn user_agent(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let mut next = || lines.next().unwrap_or_default().to_owned();
    let user_agent = next();
    let hints = Hints {
        brands: next(),
        mobile: next(),
        platform: next(),
        platform_version: next(),
        model: next(),
        no_language: false,
    };
    let agent = v1::Agent::from(&agent::parse(&user_agent, &hints));
    let versions = agent.browser_version.len().max(agent.os_version.len());
    assert!(versions <= 16, "{agent:?}");
}

/// URL and referrer, one a line.
fn url(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (page, referrer) = text.split_once('\n').unwrap_or((&text, ""));
    if page.len() <= limits::MAX_URL_BYTES
        && let Ok(place) = split(page, &RULES.cleaning)
    {
        assert!(place.path.len() <= limits::MAX_URL_BYTES);
        let _ = RULES.check_page(&place.hostname, &place.path, false);
        if !place.hostname.is_empty() {
            assert!(!place.query.contains('#') && !place.path.contains('?'));
        }
    }
    let bare = without_userinfo(page);
    assert!(page.ends_with(bare.rsplit("://").next().unwrap_or_default()));
    let _ = RULES.allows_origin(page);
    if referrer.len() <= limits::MAX_URL_BYTES {
        let once = scrub_referrer(referrer);
        assert!(once.len() <= limits::MAX_URL_BYTES);
        let twice = scrub_referrer(&once);
        assert!(twice == once || twice.is_empty(), "{once} became {twice}");
    }
    spam::is_spam(referrer);
    if let Some(found) = source::acquisition(page, referrer, "shop.example") {
        assert!(found.utm_source.len() <= limits::MAX_NAME_BYTES);
    }
}

fn redaction(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let redactions = &RULES.redactions;
        redactions.drops(text);
        redactions.redact(text);
        let id = redactions.redact_id(text);
        assert!(text.is_empty() || !id.is_empty(), "an id stays one");
        if let Ok(json) = serde_json::from_str(text) {
            let redacted = redactions.redact_json(json).to_string();
            let read = serde_json::from_str::<IgnoredAny>(&redacted);
            assert!(read.is_ok(), "{text:?} became {redacted:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::{TARGETS, Target};

    fn corpus((name, _): &Target) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let mut paths: Vec<_> = std::fs::read_dir(folder.join(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        assert!(paths.len() >= 2, "{name} has no corpus");
        paths
            .iter()
            .map(|path| std::fs::read(path).unwrap())
            .collect()
    }

    /// What fuzzing found interesting, and what it once found wrong, still holds.
    #[test]
    fn the_corpus_of_every_decoder_passes() {
        for target in TARGETS {
            for input in corpus(target) {
                target.1(&input);
            }
        }
    }

    proptest! {
        /// At every door: requests of its clients with a part of one put into another, cut out, or doubled.
        #[test]
        fn every_event_of_a_damaged_request_has_one_fate(
            target in 0..TARGETS.len(),
            [first, second]: [Index; 2],
            [from, to, at]: [Index; 3],
            cut: bool,
        ) {
            let target = &TARGETS[target];
            let inputs = corpus(target);
            let (mut input, other) = (first.get(&inputs).clone(), second.get(&inputs));
            let (from, to) = (from.index(other.len() + 1), to.index(other.len() + 1));
            let at = at.index(input.len() + 1);
            let end = if cut { input.len().min(at + from.abs_diff(to)) } else { at };
            input.splice(at..end, other[from.min(to)..from.max(to)].iter().copied());
            target.1(&input);
        }
    }
}
