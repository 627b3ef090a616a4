//! Answers broken down by what visits have in common, about events that came in over gRPC.

use serde_json::{Value, json};
use wakeline_engine::Dimension;
use wakeline_proto::v1::{Acquisition, Agent, Event, EventType, Group, Location, Order};

use super::edge::{Figures, SITE, Spool, config, connect, push, start};
use super::http::Server;

/// 2026-05-01T23:50:00Z.
const EVENING_MS: u64 = 1_777_679_400_000;

fn event(seq: u64, minute: u64, kind: EventType, path: &str) -> Event {
    Event {
        stream: 1,
        seq,
        time: EVENING_MS + minute * 60_000,
        r#type: kind.into(),
        path: path.into(),
        ..Event::default()
    }
}

/// Anna comes from a campaign and buys something after midnight; Ben comes from nowhere, with something unknown.
fn spool() -> Spool {
    let mut arrival = event(0, 0, EventType::PageView, "/");
    arrival.acquisition = Some(Acquisition {
        channel: 2,
        source: "Google".into(),
        utm_campaign: "may".into(),
        ..Acquisition::default()
    });
    let mut order = event(3, 20, EventType::Order, "/paid");
    order.order = Some(Order {
        currency: "EUR".into(),
        value: 1_999,
        ..Order::default()
    });
    let mut signup = event(2, 15, EventType::Custom, "/cart");
    signup.name = "signup".into();
    let anna = Group {
        events: vec![
            arrival,
            event(1, 12, EventType::PageView, "/cart"),
            signup,
            order,
        ],
        agent: Some(Agent {
            device: 2,
            browser: 3,
            os: 4,
            ..Agent::default()
        }),
        location: Some(Location {
            country: "DE".into(),
            ..Location::default()
        }),
        ..group("anna")
    };
    let ben = Group {
        events: vec![event(0, 1, EventType::PageView, "/")],
        ..group("ben")
    };
    Spool::of([anna, ben])
}

fn group(visitor: &str) -> Group {
    Group {
        site: SITE,
        visitor: visitor.into(),
        received_at: EVENING_MS + 3_600_000,
        ..Group::default()
    }
}

#[tokio::test]
async fn visits_are_counted_by_every_property_and_events_by_name() {
    let server = Server::start("UTC").await;
    let channel = connect(server.aggregator.grpc_addr()).await;
    push(&channel, 7, spool().blocks()).await.unwrap();
    server.applied().await;
    let rows = async |dimension: &str, range: Value| {
        let metrics = ["visitors", "visits", "events", "total_revenue"];
        let order = [(dimension, "asc")];
        let query = json!({
            "metrics": metrics, "date_range": range, "dimensions": [dimension], "order_by": order,
        });
        let mut rows = Vec::new();
        for row in server.query(query).await["results"].as_array().unwrap() {
            let [visitors, visits, events, revenue] = row["metrics"].as_array().unwrap().as_slice()
            else {
                unreachable!("four metrics were asked for")
            };
            let name = row["dimensions"][0].as_str().unwrap();
            rows.push(json!([name, visitors, visits, events, revenue["value"]]));
        }
        Value::Array(rows)
    };
    let both = json!(["2026-05-01", "2026-05-02"]);
    for (dimension, of_anna, of_ben) in [
        ("visit:source", "Google", "Direct / None"),
        ("visit:channel", "Paid Search", "Direct"),
        ("visit:utm_campaign", "may", "(not set)"),
        ("visit:utm_medium", "(not set)", "(not set)"),
        ("visit:country", "DE", "(not set)"),
        ("visit:device", "Mobile", "(not set)"),
        ("visit:browser", "Safari", "(not set)"),
        ("visit:os", "iOS", "(not set)"),
        ("visit:entry_page", "/", "/"),
        ("visit:exit_page", "/cart", "/"),
    ] {
        let expected = if of_anna == of_ben {
            json!([[of_anna, 2, 2, 5, 19.99]])
        } else {
            let mut rows = [
                json!([of_anna, 1, 1, 4, 19.99]),
                json!([of_ben, 1, 1, 1, 0.0]),
            ];
            rows.sort_by_key(|row| row[0].as_str().map(str::to_owned));
            json!(rows)
        };
        assert_eq!(rows(dimension, both.clone()).await, expected, "{dimension}");
    }
    assert_eq!(
        rows("event:goal", both).await,
        json!([
            ["order", 1, 1, 1, 19.99],
            ["pageview", 2, 2, 3, 0.0],
            ["signup", 1, 1, 1, 0.0],
        ])
    );
    // A visit counts where it begins, what it does where it happens, an exit where it ends.
    let second = json!(["2026-05-02", "2026-05-02"]);
    assert_eq!(
        rows("visit:source", second.clone()).await,
        json!([["Google", 1, 0, 3, 19.99]])
    );
    assert_eq!(
        rows("visit:exit_page", second).await,
        json!([["/cart", 1, 1, 3, 19.99]])
    );
}

#[tokio::test]
async fn values_beyond_the_most_that_are_told_apart_are_one_row() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.query.max_values = 2;
    let aggregator = start(&config).await;
    let channel = connect(aggregator.grpc_addr()).await;
    let groups = (0..10_u64).flat_map(|page| {
        // Page n has n + 1 visitors.
        (0..=page).map(move |visitor| Group {
            events: vec![Event {
                path: format!("/{page}"),
                ..event(page, 0, EventType::PageView, "")
            }],
            ..group(&format!("{visitor}"))
        })
    });
    push(&channel, 7, Spool::of(groups).blocks()).await.unwrap();
    let figures = Figures::of(aggregator.metrics()).await;
    let pages: Vec<_> = figures.values[&Dimension::Page]
        .iter()
        .map(|(_, page, row)| (page.as_str(), row.pageviews, row.visitors()))
        .collect();
    // Visitors of the others are the sum of theirs, here of 1 to 8.
    assert_eq!(pages, [("(other)", 36, 36), ("/8", 9, 9), ("/9", 10, 10)]);
}
