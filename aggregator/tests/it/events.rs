//! Questions that rollups don't answer: read from the events themselves, and with what the rollups say.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use wakeline_proto::v1::{
    Acquisition, Agent, Engagement, Event, EventType, Group, Location, Order, Property,
    Value as PropertyValue, value::Kind,
};

use super::edge::{Spool, connect, push};
use super::http::{Server, TOKEN, problem};

/// 2026-05-04T10:00:00Z, a Monday.
const START_MS: u64 = 1_777_888_800_000;
const MINUTE_MS: u64 = 60_000;

/// Numbers that are always the same.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn of<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.below(texts.len() as u64) as usize]
    }
}

/// Twenty visitors in four days, some over midnight.
pub(super) fn traffic() -> Vec<Group> {
    let mut numbers = Numbers(7);
    let mut groups = Vec::new();
    for visitor in 0..20_u64 {
        let mut time = START_MS + numbers.below(2 * 1_440) * MINUTE_MS;
        for group in 0..=numbers.below(6) {
            let (country, source, channel) = (
                numbers.of(&["DE", "FR", ""]),
                numbers.of(&["Google", "News", ""]),
                numbers.below(4) as u32,
            );
            let mut events = Vec::new();
            for seq in 0..=numbers.below(8) {
                time += numbers.below(12) * MINUTE_MS;
                let kind = [
                    EventType::PageView,
                    EventType::PageView,
                    EventType::Custom,
                    EventType::Order,
                    EventType::Engagement,
                    EventType::Scroll,
                ][numbers.below(6) as usize];
                let order = Order {
                    currency: "EUR".into(),
                    value: numbers.below(9_000) as i64,
                    ..Order::default()
                };
                let plan = PropertyValue {
                    kind: Some(Kind::Text(numbers.of(&["pro", "free"]).into())),
                };
                events.push(Event {
                    stream: 1 + visitor * 100 + group,
                    seq,
                    time,
                    r#type: kind.into(),
                    name: if kind == EventType::Custom {
                        "signup".into()
                    } else {
                        String::new()
                    },
                    hostname: numbers.of(&["shop.example", "blog.example"]).into(),
                    path: numbers.of(&["/", "/shoes", "/thanks"]).into(),
                    properties: vec![Property {
                        name: "plan".into(),
                        value: Some(plan),
                    }],
                    order: (kind == EventType::Order).then_some(order),
                    engagement: (kind == EventType::Engagement).then_some(Engagement {
                        time_ms: 4_000,
                        scroll_percent: 40 + 10 * seq as u32,
                    }),
                    acquisition: Some(Acquisition {
                        channel,
                        source: source.into(),
                        ..Acquisition::default()
                    }),
                    ..Event::default()
                });
            }
            groups.push(Group {
                site: 1,
                visitor: format!("v{visitor}"),
                received_at: time + 1_000,
                agent: Some(Agent {
                    device: 1 + (visitor % 2) as u32,
                    browser: 2,
                    ..Agent::default()
                }),
                location: Some(Location {
                    country: country.into(),
                    ..Location::default()
                }),
                events,
                ..Group::default()
            });
            time += [10, 29, 31, 600, 1_300][numbers.below(5) as usize] * MINUTE_MS;
        }
    }
    groups
}

async fn server() -> Server {
    let server = Server::start("Europe/Berlin").await;
    let channel = connect(server.aggregator.grpc_addr()).await;
    let spool = Spool::of(traffic());
    // Copies by another way change nothing.
    push(&channel, 7, spool.blocks()).await.unwrap();
    push(&channel, 8, spool.blocks()).await.unwrap();
    server.applied().await;
    server
}

#[tokio::test]
async fn events_and_rollups_give_the_same_answers() {
    let server = server().await;
    let metrics = [
        "visitors",
        "visits",
        "pageviews",
        "events",
        "views_per_visit",
        "bounce_rate",
        "visit_duration",
        "orders",
        "total_revenue",
        "average_revenue",
    ];
    let of_events = [
        "visitors",
        "visits",
        "pageviews",
        "events",
        "orders",
        "total_revenue",
    ];
    let range = json!(["2026-05-04", "2026-05-08"]);
    // Always true, and nothing that rows tell.
    let always = json!(["has_not_done", ["is", "event:name", ["never"]]]);
    let mut questions = Vec::new();
    for dimensions in [
        json!([]),
        json!(["time:hour"]),
        json!(["time:day"]),
        json!(["time:week"]),
        json!(["event:page"]),
        json!(["time:day", "event:page"]),
        json!(["visit:source"]),
        json!(["visit:channel"]),
        json!(["visit:country"]),
        json!(["visit:device"]),
        json!(["visit:browser"]),
        json!(["visit:entry_page"]),
        json!(["visit:exit_page"]),
        json!(["time:day", "visit:exit_page"]),
        json!(["visit:utm_term"]),
    ] {
        questions.push(json!({"metrics": metrics, "date_range": range, "dimensions": dimensions, "filters": []}));
        questions.push(json!({"metrics": metrics, "date_range": ["2026-05-05", "2026-05-06"], "dimensions": dimensions, "filters": []}));
    }
    for dimensions in [
        json!(["event:goal"]),
        json!(["event:name"]),
        json!(["time:day", "event:goal"]),
    ] {
        questions.push(json!({"metrics": of_events, "date_range": range, "dimensions": dimensions, "filters": []}));
    }
    questions.push(json!({"metrics": metrics, "date_range": range, "filters": [["is", "event:page", ["/shoes"]]]}));
    questions.push(json!({"metrics": ["visits", "events", "bounce_rate"], "date_range": range, "filters": [["contains", "visit:source", ["o", "N"]]]}));
    questions.push(json!({"metrics": ["visitors", "new_visitors", "returning_visitors"], "date_range": ["2026-05-05", "2026-05-08"], "dimensions": ["time:day"], "filters": []}));
    questions.push(json!({"metrics": ["visitors", "pageviews"], "date_range": ["2026-05-05T07:10:00Z", "2026-05-05T21:15:00Z"], "filters": []}));
    let mut rows = 0;
    for mut question in questions {
        question["include"] = json!({"source": true});
        let rollups = server.query(question.clone()).await;
        assert_eq!(rollups["meta"]["source"]["read"], "rollups", "{question}");
        let filters = question["filters"].as_array_mut().unwrap();
        filters.push(always.clone());
        let events = server.query(question.clone()).await;
        assert_eq!(events["meta"]["source"]["read"], "events", "{question}");
        assert_eq!(rollups["results"], events["results"], "{question}");
        rows += rollups["results"].as_array().unwrap().len();
    }
    assert!(rows > 200, "{rows} rows compared");
}

#[tokio::test]
async fn several_dimensions_filters_and_periods_are_answered_together() {
    let server = server().await;
    let answer = server
        .query(json!({
            "metrics": ["visitors", "percentage", "conversion_rate", "group_conversion_rate", "total_revenue"],
            "date_range": ["2026-05-05", "2026-05-06"],
            "dimensions": ["visit:source", "visit:country_name"],
            "filters": [
                ["is", "event:goal", ["order"]], ["matches", "event:hostname", ["^shop\\."]],
                ["or", [["is", "event:props:plan", ["pro"]], ["not", ["is", "visit:device", ["Desktop"]]]]],
                ["has_done", ["is", "event:page", ["/"]]],
            ],
            "include": {
                "comparisons": {"mode": "previous_period"}, "total_rows": true, "freshness": true, "generation": true, "source": true,
                "imports": true,
            },
        }))
        .await;
    let meta = &answer["meta"];
    assert_eq!(meta["source"]["exact"], true);
    assert_eq!(meta["imports_included"], false);
    assert!(meta["generation"].is_u64() && meta["freshness"]["applied"].is_u64());
    assert_eq!(
        answer["query"]["comparison_date_range"],
        json!(["2026-05-03T00:00:00+02:00", "2026-05-04T23:59:59+02:00"])
    );
    let rows = answer["results"].as_array().unwrap();
    assert!(
        rows.len() > 1 && meta["total_rows"] == rows.len(),
        "{answer}"
    );
    for row in rows {
        assert_eq!(row["comparison"]["change"].as_array().unwrap().len(), 5);
        assert!(
            ["Germany", "France", "(not set)"].contains(&row["dimensions"][1].as_str().unwrap())
        );
    }
    let pages = server
        .query(json!({"metrics": ["time_on_page", "scroll_depth"], "date_range": ["2026-05-04", "2026-05-08"], "dimensions": ["event:page"]}))
        .await;
    assert_eq!(pages["results"].as_array().unwrap().len(), 3);
    assert!(
        pages["results"][0]["metrics"][0].as_i64().unwrap() >= 4,
        "{pages}"
    );
}

#[tokio::test]
async fn goals_and_segments_are_made_asked_for_and_deleted() {
    let server = server().await;
    let goals = "/api/v1/sites/shop.example/goals";
    let made = server
        .post(
            goals,
            &json!({"name": "Thanks", "rule": {"page": "/than*"}}),
        )
        .await;
    assert_eq!(made.status(), StatusCode::CREATED);
    let goal: Value = made.json().await.unwrap();
    let paid = json!([
        "and",
        [
            ["is", "event:name", ["order"]],
            ["is", "event:props:plan", ["pro"]]
        ]
    ]);
    let made = server
        .post(
            goals,
            &json!({"name": "Pro order", "rule": {"filter": paid}}),
        )
        .await;
    assert_eq!(made.status(), StatusCode::CREATED);
    let again = server
        .post(goals, &json!({"name": "Thanks", "rule": {"event": "x"}}))
        .await;
    problem(again, StatusCode::CONFLICT).await;
    let nonsense = server
        .post(goals, &json!({"name": "x", "rule": {"page": "thanks"}}))
        .await;
    let said = problem(nonsense, StatusCode::BAD_REQUEST).await;
    assert!(
        said["detail"].as_str().unwrap().starts_with("page: "),
        "{said}"
    );

    let range = json!(["2026-05-04", "2026-05-08"]);
    let by_goal = json!({"metrics": ["visitors", "events", "orders"], "date_range": range, "dimensions": ["event:goal"], "order_by": [["event:goal", "asc"]]});
    let names = |answer: &Value| -> Vec<String> {
        let rows = answer["results"].as_array().unwrap().iter();
        rows.map(|row| row["dimensions"][0].as_str().unwrap().to_owned())
            .collect()
    };
    let answer = server.query(by_goal.clone()).await;
    assert_eq!(
        names(&answer),
        [
            "Pro order",
            "Thanks",
            "order",
            "pageview",
            "scroll",
            "signup"
        ]
    );
    let only = json!({"metrics": ["visitors", "events", "orders"], "date_range": range, "filters": [["is", "event:goal", ["Thanks"]]]});
    let only = server.query(only).await;
    assert_eq!(
        only["results"][0]["metrics"],
        answer["results"][1]["metrics"]
    );

    let segments = "/api/v1/sites/1/segments";
    let filters = json!([["is", "visit:device", ["Desktop"]]]);
    let made = server
        .post(segments, &json!({"name": "Desktops", "filters": filters}))
        .await;
    assert_eq!(made.status(), StatusCode::CREATED);
    let segment: Value = made.json().await.unwrap();
    let by = |filters: Value| json!({"metrics": ["visitors", "events"], "date_range": range, "dimensions": ["event:page"], "filters": filters});
    let by_segment = server
        .query(by(json!([["is", "segment", [segment["id"]]]])))
        .await;
    assert_eq!(
        by_segment["results"],
        server.query(by(filters)).await["results"]
    );
    assert_eq!(by_segment["results"].as_array().unwrap().len(), 3);

    for (path, id) in [(goals, &goal["id"]), (segments, &segment["id"])] {
        let delete = async || {
            let request = server.request(Method::DELETE, &format!("{path}/{id}"));
            request.bearer_auth(TOKEN).send().await.unwrap()
        };
        assert_eq!(delete().await.status(), StatusCode::NO_CONTENT);
        problem(delete().await, StatusCode::NOT_FOUND).await;
    }
    let left: Value = server.get(goals).await.json().await.unwrap();
    assert_eq!(left.as_array().unwrap().len(), 1);
    assert_eq!(left[0]["rule"], json!({"filter": paid}));
}

#[tokio::test]
async fn the_older_calls_answer_in_the_shapes_that_their_clients_know() {
    let server = server().await;
    let get = async |call: &str, params: &str| -> Value {
        let response = server
            .get(&format!(
                "/api/v1/stats/{call}?site_id=shop.example&{params}"
            ))
            .await;
        assert_eq!(response.status(), StatusCode::OK, "{call} {params}");
        response.json().await.unwrap()
    };
    assert!(get("realtime/visitors", "").await.is_u64());

    let custom = "period=custom&date=2026-05-05,2026-05-06";
    let aggregate = get(
        "aggregate",
        &format!("{custom}&metrics=visitors,bounce_rate&compare=previous_period"),
    )
    .await;
    let newer = server.query(json!({"metrics": ["visitors", "bounce_rate"], "date_range": ["2026-05-05", "2026-05-06"]})).await;
    let of = &newer["results"][0]["metrics"];
    assert_eq!(aggregate["results"]["visitors"]["value"], of[0]);
    assert_eq!(aggregate["results"]["bounce_rate"]["value"], of[1]);
    assert!(
        aggregate["results"]["visitors"]["change"].is_i64(),
        "{aggregate}"
    );

    let series = get(
        "timeseries",
        "period=month&date=2026-05-20&metrics=visitors,visit_duration",
    )
    .await;
    let series = series["results"].as_array().unwrap().clone();
    assert_eq!(series.len(), 31);
    assert_eq!(
        series[0],
        json!({"date": "2026-05-01", "visitors": 0, "visit_duration": null})
    );
    assert!(series[4]["visitors"].as_i64().unwrap() > 0);
    let hours = get("timeseries", "period=day&date=2026-05-05").await;
    assert_eq!(hours["results"][0]["date"], "2026-05-05 00:00:00");

    let sources = get(
        "breakdown",
        &format!("{custom}&property=visit:source&metrics=visitors,visits&limit=2"),
    )
    .await;
    let sources = sources["results"].as_array().unwrap().clone();
    assert_eq!(sources.len(), 2);
    assert!(sources[0]["source"].is_string() && sources[0]["visits"].is_u64());
    let plans = get(
        "breakdown",
        &format!(
            "{custom}&property=event:props:plan&filters=event:page==/sh*;visit:country==DE%7CFR"
        ),
    )
    .await;
    assert!(plans["results"][0]["plan"].is_string(), "{plans}");
    let rates = get("breakdown", &format!("{custom}&property=visit:source&metrics=visitors,conversion_rate&filters=event:goal==order")).await;
    assert!(rates["results"][0]["conversion_rate"].is_f64(), "{rates}");

    for (call, params, why) in [
        ("breakdown", "", "property: "),
        ("aggregate", "period=3d", "date_range: "),
        ("aggregate", "period=3d&date=2026-01-01", "period: "),
        ("aggregate", "colour=red", "colour"),
        ("timeseries", "interval=hour", "interval: "),
        ("aggregate", "filters=visit:source", "operator"),
    ] {
        let path = format!("/api/v1/stats/{call}?site_id=1&{params}");
        let said = problem(server.get(&path).await, StatusCode::BAD_REQUEST).await;
        assert!(
            said["detail"].as_str().unwrap().contains(why),
            "{path}: {said}"
        );
    }
    let nobody = server
        .request(Method::GET, "/api/v1/stats/aggregate?site_id=1")
        .send()
        .await
        .unwrap();
    problem(nobody, StatusCode::UNAUTHORIZED).await;
}

#[tokio::test]
async fn a_question_over_its_budget_fails_alone_and_says_so() {
    let data = tempfile::tempdir().unwrap();
    let mut config = super::edge::config(data.path());
    config.query.max_memory_bytes = 1 << 10;
    let server = Server::open(data, &config).await;
    let site = wakeline_aggregator::admin::CreateSite {
        domain: "shop.example".to_owned(),
        timezone: "UTC".to_owned(),
        currency: "EUR".to_owned(),
        session_gap: 30,
    };
    let request = wakeline_aggregator::admin::SiteRequest::Create(site);
    let request = wakeline_aggregator::admin::AdminRequest::Site(request);
    server.aggregator.admin(request).await.unwrap();
    let channel = connect(server.aggregator.grpc_addr()).await;
    push(&channel, 7, Spool::of(traffic()).blocks())
        .await
        .unwrap();
    server.applied().await;
    let range = json!(["2026-05-04", "2026-05-08"]);
    let heavy = json!({"site_id": 1, "metrics": ["visitors"], "date_range": range, "dimensions": ["event:props:plan"]});
    let said = problem(
        server.post("/api/v2/query", &heavy).await,
        StatusCode::UNPROCESSABLE_ENTITY,
    )
    .await;
    assert!(
        said["detail"]
            .as_str()
            .unwrap()
            .contains("query.max_memory_bytes"),
        "{said}"
    );
    server
        .query(json!({"metrics": ["visitors"], "date_range": range}))
        .await;
}

#[tokio::test]
async fn every_example_of_the_documentation_is_answered() {
    let server = server().await;
    let documentation = include_str!("../../docs/query.md");
    let mut examples = 0;
    for block in documentation.split("```json\n").skip(1) {
        let (example, _) = block.split_once("```").unwrap();
        let question: Value = serde_json::from_str(example).unwrap();
        let response = server.post("/api/v2/query", &question).await;
        assert_eq!(
            response.status(),
            StatusCode::OK,
            "{example}: {}",
            response.text().await.unwrap()
        );
        examples += 1;
    }
    assert!(examples > 5, "{examples} examples");
}

#[tokio::test]
async fn a_sample_shows_the_latest_of_the_events_that_a_figure_is_of() {
    let server = Server::start("Europe/Berlin").await;
    let channel = connect(server.aggregator.grpc_addr()).await;
    push(&channel, 5, Spool::of(traffic()).blocks())
        .await
        .unwrap();
    server.applied().await;
    let filters = json!([
        ["is", "event:name", ["order"]],
        ["is", "visit:country", ["DE"]]
    ]);
    let counted = server
        .query(json!({"metrics": ["events"], "date_range": "all", "filters": filters}))
        .await;
    let asked =
        json!({"site_id": "shop.example", "date_range": "all", "filters": filters, "limit": 2});
    let answer = server.post("/api/v1/events/sample", &asked).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let sample: Value = answer.json().await.unwrap();
    assert_eq!(sample["matching"], counted["results"][0]["metrics"][0]);
    let events = sample["events"].as_array().unwrap();
    assert_eq!(events.len(), 2, "{sample}");
    for event in events {
        assert_eq!(
            (&event["name"], &event["country"]),
            (&json!("order"), &json!("DE"))
        );
        assert!(event["order"]["value"].is_number(), "{event}");
    }
    let time = |at: usize| events[at]["time"].as_str().unwrap();
    assert!(
        time(0) >= time(1) && time(0).ends_with("+02:00"),
        "{sample}"
    );

    for wrong in [
        json!({"site_id": 1, "date_range": "all", "limit": 0}),
        json!({"site_id": 1, "date_range": "all", "limit": 101}),
        json!({"site_id": 1, "date_range": "soon"}),
        json!({"site_id": 1, "date_range": "all", "filters": [["is"]]}),
        json!({"site_id": 1, "date_range": "all", "surprise": true}),
    ] {
        let refused = server.post("/api/v1/events/sample", &wrong).await;
        problem(refused, StatusCode::BAD_REQUEST).await;
    }
}
