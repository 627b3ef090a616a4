//! The demo on a real Redis and a real InfluxDB.

use std::time::Duration;

use wakeline_demo_site::simulate;
use wakeline_testbed::{Demo, eventually};

const IN_TIME: Duration = Duration::from_secs(120);
/// Pageviews of all minutes.
const PAGEVIEWS: &str = r#"from(bucket: "wakeline") |> range(start: 0, stop: 2100-01-01T00:00:00Z)
    |> filter(fn: (r) => r._measurement == "minute" and r._field == "pageviews")
    |> group() |> sum() |> keep(columns: ["_value"])"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_real_servers_the_demo_and_influxdb_show_what_was_sent() -> anyhow::Result<()> {
    let (mut demo, [redis, influx, token, grafana]) = Demo::start_real()?;
    assert!(redis.starts_with("redis://127.0.0.1:"), "{redis}");
    // Where it is installed it runs; elsewhere that is said.
    let shows = grafana.starts_with("http://127.0.0.1:") && grafana.ends_with("/d/wakeline-live");
    assert!(shows || grafana.contains("not on PATH"), "{grafana}");
    let truth = simulate::run(simulate::Options {
        collector: demo.shop.trim_end_matches('/').to_owned(),
        key: demo.write_key.clone(),
        visitors: 40,
        seed: 7,
        days: None,
        connections: 4,
        visitors_per_second: None,
        progress: false,
    })
    .await?;
    let sent = vec![truth.visitors, truth.visits, truth.pageviews, truth.events];
    eventually("the API has what was sent", IN_TIME, || async {
        let totals = demo.totals("all").await?;
        anyhow::ensure!(totals == sent, "{totals:?}, sent {sent:?}");
        Ok(Some(()))
    })
    .await?;
    eventually("InfluxDB has what was sent", IN_TIME, || async {
        let answer = reqwest::Client::new()
            .post(format!("{influx}/api/v2/query?org=wakeline"))
            .header("Authorization", format!("Token {token}"))
            .header("Content-Type", "application/vnd.flux")
            .body(PAGEVIEWS)
            .send()
            .await?
            .text()
            .await?;
        let pageviews = answer.lines().find_map(|line| {
            let (_, last) = line.rsplit_once(',')?;
            last.trim().parse::<u64>().ok()
        });
        anyhow::ensure!(pageviews == Some(truth.pageviews), "{answer}");
        Ok(Some(()))
    })
    .await?;
    demo.stop()
}
