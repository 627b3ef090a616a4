//! Figures in a real InfluxDB: those of the state, whatever happens to it.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use wakeline_aggregator::{Aggregator, Config};
use wakeline_engine::{Dimension, Grain, Row};
use wakeline_testbed::{Influx, eventually};

use super::edge::{Figures, SITE, Spool, config, connect, push, start};

mod away;
mod front;
mod generations;

const BUCKET: &str = "wakeline";

fn config_with(data: &Path, influx: &Influx) -> Config {
    let mut config = config(data);
    config.metrics.url = Some(influx.url());
    config.metrics.token = Some(influx.token().to_owned());
    config
}

async fn scrape(aggregator: &Aggregator, path: &str) -> String {
    let url = format!("http://{}{path}", aggregator.http_addr());
    reqwest::get(url).await.unwrap().text().await.unwrap()
}

async fn sample(aggregator: &Aggregator, name: &str) -> u64 {
    let text = scrape(aggregator, "/metrics").await;
    let line = text.lines().find_map(|line| {
        line.strip_prefix("wakeline_aggregator_influx_")?
            .strip_prefix(name)?
            .strip_prefix(' ')
    });
    line.unwrap().parse().unwrap()
}

/// What an aggregator without InfluxDB makes of it.
async fn expected(spool: &Spool) -> Figures {
    let data = tempfile::tempdir().unwrap();
    let aggregator = start(&config(data.path())).await;
    let channel = connect(aggregator.grpc_addr()).await;
    push(&channel, 7, spool.blocks()).await.unwrap();
    Figures::of(aggregator.metrics()).await
}

/// The first column of that name in the answer.
async fn column(influx: &Influx, flux: &str, name: &str) -> Vec<String> {
    let rows = influx.query(flux).await.unwrap_or_default().into_iter();
    let cells = rows.filter_map(|row| row.into_iter().find(|(column, _)| column == name));
    cells.map(|(_, value)| value).collect()
}

/// What readers of InfluxDB are told to read, as the shipped dashboards ask; empty if there is nothing yet.
async fn current(influx: &Influx) -> String {
    let dashboard = include_str!("../../grafana/dashboards/live.json");
    let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    let variable = &dashboard["templating"]["list"][0];
    assert_eq!(variable["name"], "generation");
    let flux = format!(
        "v = {{defaultBucket: \"{BUCKET}\"}}\n{}",
        variable["query"].as_str().unwrap()
    );
    column(influx, &flux, "_value").await.concat()
}

/// A field of all windows of a grain, ascending by time.
async fn field(influx: &Influx, measurement: &str, field: &str) -> Vec<(i64, String)> {
    let generation = current(influx).await;
    let flux = format!(
        "from(bucket: \"{BUCKET}\") |> range(start: 0) |> filter(fn: (r) => r._measurement == \"{measurement}\" and \
         r.generation == \"{generation}\" and r._field == \"{field}\" and r.site == \"{SITE}\") |> map(fn: (r) => ({{at: int(v: r._time) / 1000000000, \
         text: string(v: r._value)}})) |> group() |> sort(columns: [\"at\"])"
    );
    let rows = influx.query(&flux).await.unwrap_or_default().into_iter();
    let of = |row: &[(String, String)], name: &str| {
        let found = row.iter().find(|(column, _)| column == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    rows.map(|row| (of(&row, "at").parse().unwrap(), of(&row, "text")))
        .collect()
}

/// The rows of a grain as they are in InfluxDB.
async fn rows(influx: &Influx, grain: Grain) -> Vec<(i64, Row)> {
    let (measurement, seconds) = match grain {
        Grain::Minute => ("minute", 60),
        Grain::Hour => ("hour", 60),
        Grain::Day => ("day", 86_400),
    };
    let rows = field(influx, measurement, "row").await.into_iter();
    let rows = rows.map(|(at, text)| {
        let row = Row::decode(&STANDARD_NO_PAD.decode(text).unwrap()).unwrap();
        (at / seconds, row)
    });
    rows.filter(|(_, row)| !row.is_zero()).collect()
}

/// Waits until InfluxDB has exactly these figures, without a mark that is left.
async fn settled(influx: &Influx, aggregator: &Aggregator, expected: &Figures) {
    // Days, and minutes that are over, are written once a minute.
    eventually(
        "InfluxDB has all figures",
        Duration::from_secs(90),
        async || {
            let all = rows(influx, Grain::Minute).await == expected.minutes
                && rows(influx, Grain::Hour).await == expected.hours
                && rows(influx, Grain::Day).await == expected.days;
            Ok((all && sample(aggregator, "drained").await == 1).then_some(()))
        },
    )
    .await
    .unwrap();
    assert_eq!(Figures::of(aggregator.metrics()).await, *expected);
}

/// Asks both the same questions.
async fn agree(one: &Aggregator, other: &Aggregator, figures: &Figures) {
    let mut state = 7_u64;
    let mut random = |below: i64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as i64 % below.max(1)
    };
    for number in 0..60 {
        let (grain, windows) = match number % 3 {
            0 => (Grain::Minute, &figures.minutes),
            1 => (Grain::Hour, &figures.hours),
            _ => (Grain::Day, &figures.days),
        };
        let (first, last) = (windows[0].0, windows[windows.len() - 1].0);
        let from = first - 100 + random(last - first + 100);
        let range = from..from + random(last - first + 200);
        let one = one.metrics().totals(SITE, grain, range.clone());
        let other = other.metrics().totals(SITE, grain, range.clone());
        let (one, other) = (one.await.unwrap(), other.await.unwrap());
        assert_eq!(one, other, "{grain:?} {range:?}");
    }
    for dimension in Dimension::ALL {
        if !matches!(dimension, Dimension::Total | Dimension::Fate) {
            let one = one.metrics().breakdown(SITE, dimension, i64::MIN..i64::MAX);
            let other = other
                .metrics()
                .breakdown(SITE, dimension, i64::MIN..i64::MAX);
            assert_eq!(one.await.unwrap(), other.await.unwrap(), "{dimension:?}");
        }
    }
}

/// Runs every query of the shipped dashboards, as Grafana would.
async fn dashboards_of_grafana_show_something(influx: &Influx) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/dashboards");
    let generation = current(influx).await;
    let mut answers = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
        let targets = dashboard["panels"].as_array().unwrap().iter();
        let targets = targets.flat_map(|panel| panel["targets"].as_array().unwrap());
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        for query in targets
            .chain(variables)
            .map(|of| of["query"].as_str().unwrap())
        {
            let flux = format!(
                "v = {{defaultBucket: \"{BUCKET}\", timeRangeStart: 2024-01-01T00:00:00Z, timeRangeStop: now()}}\n{}",
                query
                    .replace("${site}", &SITE.to_string())
                    .replace("${generation}", &generation)
            );
            let rows = influx.query(&flux).await.unwrap();
            answers += usize::from(!rows.is_empty());
        }
    }
    assert!(answers > 10, "only {answers} queries find something");
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_in_influxdb_are_those_of_the_state_and_both_answer_alike() {
    let influx = Influx::start().await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let config = config_with(data.path(), &influx);
    let spool = Spool::without_copies();
    let expected = expected(&spool).await;
    let aggregator = start(&config).await;
    let channel = connect(aggregator.grpc_addr()).await;
    push(&channel, 7, spool.blocks()).await.unwrap();
    settled(&influx, &aggregator, &expected).await;

    // Numbers say the same as rows.
    for (name, figure) in [
        ("visitors", Row::visitors as fn(&Row) -> i64),
        ("visits", |row| row.visits),
        ("pageviews", |row| row.pageviews),
        ("events", |row| row.events),
        ("bounces", |row| row.bounces),
        ("duration_ms", |row| row.duration_ms),
    ] {
        let told = field(&influx, "minute", name).await.into_iter();
        let told: Vec<i64> = told.map(|(_, number)| number.parse().unwrap()).collect();
        let rows = expected.minutes.iter();
        assert_eq!(
            told,
            rows.map(|(_, row)| figure(row)).collect::<Vec<_>>(),
            "{name}"
        );
    }
    // The first page of the day.
    let flux = format!(
        "from(bucket: \"{BUCKET}\") |> range(start: 0) |> filter(fn: (r) => r._measurement == \"top\" and \
         r.kind == \"page\" and r.rank == \"1\" and r._field == \"value\")"
    );
    let found = influx.query(&flux).await.unwrap();
    let all = i64::MIN..i64::MAX;
    let pages = aggregator.metrics().breakdown(SITE, Dimension::Page, all);
    let mut pages = pages.await.unwrap();
    pages.sort_by(|a, b| {
        (b.2.visitors(), b.2.events, &a.1).cmp(&(a.2.visitors(), a.2.events, &b.1))
    });
    let first = ("_value".to_owned(), pages[0].1.clone());
    assert!(found[0].contains(&first), "{found:?} {first:?}");

    dashboards_of_grafana_show_something(&influx).await;

    let plain = tempfile::tempdir().unwrap();
    let embedded = start(&super::edge::config(plain.path())).await;
    let other = connect(embedded.grpc_addr()).await;
    push(&other, 7, spool.blocks()).await.unwrap();
    Figures::of(embedded.metrics()).await;
    agree(&aggregator, &embedded, &expected).await;
    assert_eq!(sample(&aggregator, "failed_queries_total").await, 0);

    // A new process finds nothing to write.
    drop(channel);
    aggregator.shutdown(Duration::from_secs(10)).await;
    let aggregator = start(&config).await;
    settled(&influx, &aggregator, &expected).await;
    assert_eq!(sample(&aggregator, "lines_total").await, 0);
}
