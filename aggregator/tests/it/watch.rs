//! What collectors are told: sites, keys, health, reflection.

use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_request, server_reflection_response,
};
use wakeline_aggregator::admin::AdminRequest;
use wakeline_proto::v1::config_client::ConfigClient;
use wakeline_proto::v1::{KeyKind, LookupKeyRequest, LookupKeysRequest, WatchRequest};

use super::edge::{PARTITIONS, config, connect, start};

/// Makes a site; returns its answer.
async fn create(aggregator: &wakeline_aggregator::Aggregator, domain: &str) -> serde_json::Value {
    let request: AdminRequest = serde_json::from_value(serde_json::json!({
        "site": { "create": { "domain": domain, "timezone": "Europe/Berlin" } }
    }))
    .unwrap();
    aggregator.admin(request).await.unwrap()
}

#[tokio::test]
async fn collectors_hear_of_sites_and_keys_as_they_change() {
    let data = tempfile::tempdir().unwrap();
    let aggregator = start(&config(data.path())).await;
    let first = create(&aggregator, "shop.example").await;
    let mut client = ConfigClient::new(connect(aggregator.grpc_addr()).await);
    let watch = client.watch(WatchRequest::default()).await.unwrap();
    let mut snapshots = watch.into_inner();
    let snapshot = snapshots.message().await.unwrap().unwrap();
    assert_eq!(snapshot.partitions, PARTITIONS);
    assert_eq!(snapshot.sites.len(), 1);
    assert_eq!(snapshot.sites[0].timezone, "Europe/Berlin");
    let key = |kind: KeyKind| snapshot.keys.iter().find(|key| key.kind() == kind);
    let write = key(KeyKind::Write).unwrap();
    assert_eq!(first["write_key"], write.key.as_str());
    assert_eq!(first["site_id"], write.site);
    assert!(key(KeyKind::Server).is_some());

    create(&aggregator, "other.example").await;
    let newer = snapshots.message().await.unwrap().unwrap();
    assert!(newer.version > snapshot.version);
    assert_eq!(newer.sites.len(), 2);

    // Who has the newest version is told of newer ones only.
    let version = newer.version;
    let watch = client.watch(WatchRequest { version, edge: 1 });
    let mut snapshots = watch.await.unwrap().into_inner();
    create(&aggregator, "third.example").await;
    let newest = snapshots.message().await.unwrap().unwrap();
    assert_eq!(newest.sites.len(), 3);
}

#[tokio::test]
async fn a_key_is_looked_up_with_its_site() {
    let data = tempfile::tempdir().unwrap();
    let aggregator = start(&config(data.path())).await;
    let site = create(&aggregator, "shop.example").await;
    let mut client = ConfigClient::new(connect(aggregator.grpc_addr()).await);
    let key = site["server_key"].as_str().unwrap().to_owned();
    let known = client.lookup_key(LookupKeyRequest { key }).await.unwrap();
    let known = known.into_inner();
    assert_eq!(known.key.unwrap().kind(), KeyKind::Server);
    assert_eq!(known.site.unwrap().domain, "shop.example");

    let keys = [
        site["write_key"].as_str().unwrap(),
        "wk_unknown",
        "plausible:shop.example",
    ];
    let all = client
        .lookup_keys(LookupKeysRequest {
            keys: keys.map(str::to_owned).to_vec(),
        })
        .await;
    let replies = all.unwrap().into_inner().replies;
    let known: Vec<_> = replies.iter().map(|reply| reply.key.is_some()).collect();
    assert_eq!(
        known,
        [true, false, true],
        "a site is known by its domain at once"
    );
    assert_eq!(replies[0].site.as_ref().unwrap().redaction_salt.len(), 32);

    let key = "wk_unknown".to_owned();
    let unknown = client.lookup_key(LookupKeyRequest { key }).await.unwrap();
    assert_eq!(unknown.into_inner().key, None);
}

#[tokio::test]
async fn health_and_reflection_tell_of_the_services() {
    let data = tempfile::tempdir().unwrap();
    let aggregator = start(&config(data.path())).await;
    let channel = connect(aggregator.grpc_addr()).await;
    for service in ["", "wakeline.v1.Ingest", "wakeline.v1.Config"] {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        let health = HealthClient::new(channel.clone()).check(request).await;
        let status = health.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{service}");
    }
    let request = ServerReflectionRequest {
        message_request: Some(server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
        ..ServerReflectionRequest::default()
    };
    let mut answers = ServerReflectionClient::new(channel)
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(server_reflection_response::MessageResponse::ListServicesResponse(list)) = answer
    else {
        panic!("{answer:?}");
    };
    let names: Vec<_> = list.service.iter().map(|service| &*service.name).collect();
    assert!(names.contains(&"wakeline.v1.Ingest"), "{names:?}");
    assert!(names.contains(&"wakeline.v1.Config"), "{names:?}");
}
