//! What an address says: place and network, from databases that change while the collector runs.

use std::net::Ipv4Addr;

use serde_json::json;
use wakeline_proto::v1;

use crate::harness::{Edge, SERVER_KEY, WRITE_KEY, eventually, keep_snapshot, nowhere};
use crate::mmdb::Data::{List, Map, Number, Text};
use crate::mmdb::{Data, write};
use crate::rules::{reason, with_rules};

/// An address of documentation (RFC 5737), the one and the other.
const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 0);
const THERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 0);

async fn behind_a_proxy(change: impl FnOnce(&mut v1::SiteRules)) -> Edge {
    let data = tempfile::tempdir().unwrap();
    keep_snapshot(data.path(), &with_rules(1, change));
    let url = nowhere().await;
    Edge::start_in(data, |config| {
        config.upstream.url = url;
        config.enrich.client_ip_header = "x-forwarded-for".to_owned();
    })
    .await
}

/// What becomes of a click that came from `ip`.
async fn click(edge: &Edge, ip: &str) -> String {
    let event = json!({"type": "click", "visitor": "v"}).to_string();
    let request = edge.post(&format!("/w/1/events?k={WRITE_KEY}"), event);
    let request = request.header("x-forwarded-for", ip);
    let reply: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
    reason(&reply).to_owned()
}

#[tokio::test]
async fn regions_and_cities_are_kept_where_the_database_has_them_and_a_new_one_is_taken() {
    let coded = |code| Map(vec![("iso_code", Text(code))]);
    let city = |country, region, name| {
        Map(vec![
            ("country", coded(country)),
            ("subdivisions", List(vec![coded(region)])),
            ("city", Map(vec![("names", Map(vec![("en", Text(name))]))])),
        ])
    };
    let edge = behind_a_proxy(|_| {}).await;
    let file = edge.data.path().join("country.mmdb");
    write(&file, &[(HERE, 24, city("DE", "BE", "Berlin"))]);
    eventually(async || edge.metric("geoip_loaded").await == 1).await;
    click(&edge, "192.0.2.7").await;
    click(&edge, "198.51.100.7").await;
    write(&file, &[(HERE, 24, city("FR", "IDF", "Paris"))]);
    let mut sent = 2;
    let paris = async || {
        click(&edge, "192.0.2.9").await;
        let spool = edge.data.path().join("spool");
        let files = std::fs::read_dir(spool).unwrap();
        let bytes: Vec<u8> = files
            .flat_map(|file| std::fs::read(file.unwrap().path()).unwrap_or_default())
            .collect();
        bytes.windows(5).any(|text| text == b"Paris")
    };
    eventually(async || {
        sent += 1;
        paris().await
    })
    .await;
    let groups = edge.groups().await;
    assert_eq!(groups.len(), sent);
    let places: Vec<_> = groups
        .into_iter()
        .map(|group| group.location.unwrap_or_default())
        .map(|place| [place.country, place.region, place.city])
        .collect();
    assert_eq!(places[0], ["DE", "DE-BE", "Berlin"]);
    assert_eq!(places[1], ["", "", ""]);
    assert_eq!(places[sent - 1], ["FR", "FR-IDF", "Paris"]);
}

#[tokio::test]
async fn what_comes_from_a_datacentre_is_refused_by_name_where_the_site_says_so() {
    let network = |number| Map(vec![("autonomous_system_number", Number(number))]);
    let networks = |edge: &Edge| {
        let entries: [(_, _, Data); 2] = [(HERE, 24, network(24940)), (THERE, 24, network(3320))];
        write(&edge.data.path().join("networks.mmdb"), &entries);
    };
    let refusing = behind_a_proxy(|rules| rules.refuse_datacentres = true).await;
    assert_eq!(click(&refusing, "192.0.2.1").await, "accepted");
    networks(&refusing);
    eventually(async || refusing.metric("networks_loaded").await == 1).await;
    assert_eq!(click(&refusing, "192.0.2.1").await, "datacentre");
    assert_eq!(click(&refusing, "198.51.100.1").await, "accepted");
    assert_eq!(click(&refusing, "203.0.113.1").await, "accepted");
    // Kept, so that it can be looked at; the address is not.
    let groups = refusing.groups().await;
    let rejected: Vec<_> = groups.iter().flat_map(|group| &group.rejected).collect();
    assert_eq!(rejected.len(), 1);
    assert!(!format!("{groups:?}").contains("192.0.2"));

    let taking = behind_a_proxy(|_| {}).await;
    networks(&taking);
    eventually(async || taking.metric("networks_loaded").await == 1).await;
    assert_eq!(click(&taking, "192.0.2.1").await, "accepted");
}

#[tokio::test]
async fn an_address_that_a_public_key_names_gets_around_neither_limit_nor_filter() {
    let network = Map(vec![("autonomous_system_number", Number(24940))]);
    let edge = behind_a_proxy(|rules| {
        rules.refuse_datacentres = true;
        rules.events_per_minute_of_ip = 3;
    })
    .await;
    let file = edge.data.path().join("networks.mmdb");
    write(&file, &[(HERE, 24, network)]);
    eventually(async || edge.metric("networks_loaded").await == 1).await;
    // Segment's libraries for servers and PostHog name the visitor's address in the body.
    let send = async |key: &str, ip: &str, from: &str| {
        let event = json!({"type": "track", "event": "e", "userId": "u", "messageId": ip,
            "context": {"ip": ip, "library": {"name": "analytics-node"}}});
        let body = json!({"writeKey": key, "batch": [event]}).to_string();
        let request = edge.post("/v1/batch", body).header("x-forwarded-for", from);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(send(WRITE_KEY, "203.0.113.1", "192.0.2.1").await, 200);
    for host in 1..=3 {
        let ip = format!("203.0.113.{host}");
        assert_eq!(send(WRITE_KEY, &ip, "198.51.100.1").await, 200);
    }
    assert_eq!(send(WRITE_KEY, "203.0.113.4", "198.51.100.1").await, 429);
    // A server is believed, and is not an address that sends too much.
    for host in 1..=5 {
        let ip = format!("203.0.113.1{host}");
        assert_eq!(send(SERVER_KEY, &ip, "192.0.2.1").await, 200);
    }
    let groups = edge.groups().await;
    let refused: usize = groups.iter().map(|group| group.rejected.len()).sum();
    let taken: usize = groups.iter().map(|group| group.events.len()).sum();
    assert_eq!((refused, taken), (1, 3 + 5));
}
