//! A lake in S3, and one that can't be read or written.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::StatusCode;
use tokio::net::{TcpListener, TcpStream};

use super::super::edge::{Spool, connect, push, until, visit};
use super::super::http::Server;
use super::{config, events, make_site, status};

/// An S3 server.
const MOTO: &[&str] = &["moto[server]==5.2.5"];

struct S3 {
    process: Child,
    /// Nobody is let through.
    away: Arc<AtomicBool>,
    url: String,
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl S3 {
    /// One with an empty bucket `events`, behind a door that can be shut.
    async fn start() -> Self {
        let program = "from moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])";
        let mut command = wakeline_testbed::python(MOTO).unwrap();
        command.args(["-u", "-c", program]).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("Running on http://")?.1.trim().to_owned()))
            .unwrap();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let away = Arc::new(AtomicBool::new(false));
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", door.local_addr().unwrap());
        let shut = Arc::clone(&away);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = door.accept().await {
                let (address, shut) = (address.clone(), Arc::clone(&shut));
                tokio::spawn(async move {
                    if shut.load(Ordering::Relaxed) {
                        return;
                    }
                    let mut server = TcpStream::connect(address).await.unwrap();
                    let closed = async {
                        while !shut.load(Ordering::Relaxed) {
                            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                        }
                    };
                    let _ = tokio::select! {
                        copied = tokio::io::copy_bidirectional(&mut stream, &mut server) => copied.map(drop),
                        () = closed => Ok(()),
                    };
                });
            }
        });
        let made = reqwest::Client::new()
            .put(format!("{url}/events"))
            .send()
            .await;
        assert_eq!(made.unwrap().status(), StatusCode::OK);
        Self { process, away, url }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_in_s3_loses_nothing_while_s3_is_away() {
    let s3 = S3::start().await;
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.lake.url = Some("s3://events/lake".to_owned());
    config.lake.s3_endpoint = Some(s3.url.clone());
    config.lake.s3_region = Some("us-east-1".to_owned());
    config.lake.s3_access_key_id = Some("key".to_owned());
    config.lake.s3_secret_access_key = Some("secret".to_owned());
    let server = Server::open(data, &config).await;
    make_site(&server.aggregator, "shop.example").await;
    let channel = connect(server.aggregator.grpc_addr()).await;
    let spool = Spool::of((0..60).map(|visitor| visit(visitor, 3)));
    push(&channel, 1, spool.round(0, 60)).await.unwrap();
    server.applied().await;
    let lake = async || status(&server).await;
    until("files are in S3", async || lake().await["rows"] == 60).await;
    assert_eq!(events(&server).await, 60);

    s3.away.store(true, Ordering::Relaxed);
    push(&channel, 1, spool.round(60, 120)).await.unwrap();
    server.applied().await;
    until("what is wrong is said", async || {
        lake().await["trouble"]
            .as_str()
            .is_some_and(|why| why.contains("in the lake"))
    })
    .await;
    let ready = server.get("/readyz").await;
    assert_eq!(ready.status(), StatusCode::OK, "figures need no lake");

    s3.away.store(false, Ordering::Relaxed);
    push(&channel, 1, spool.round(120, 180)).await.unwrap();
    server.applied().await;
    until("everything is in files", async || {
        let lake = lake().await;
        lake["rows"] == 180 && lake["trouble"].is_null()
    })
    .await;
    assert_eq!(events(&server).await, 180);
    drop(channel);
    let server = server.restart(&config, false).await;
    until("it is open again", async || {
        status(&server).await["rows"] == 180
    })
    .await;
    assert_eq!(events(&server).await, 180);
}
