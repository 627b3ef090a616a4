use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// One connection with one request; `None` if none could be made.
async fn ask(at: SocketAddr) -> Option<io::Result<String>> {
    let mut stream = TcpStream::connect(at).await.ok()?;
    let mut answer = String::new();
    let exchange = async {
        stream.write_all(REQUEST).await?;
        stream.read_to_string(&mut answer).await
    };
    Some(exchange.await.map(|_| answer))
}

/// What was answered to clients that connect again and again, until no connection can be made.
async fn shut_down_under_load() -> u32 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(async || "here"));
    let options = ServeOptions::open(&HttpConfig::default()).unwrap();
    let shutdown = CancellationToken::new();
    let served = tokio::spawn(serve(listener, router, options, shutdown.clone()));
    let answered = Arc::new(AtomicU32::new(0));
    let clients: Vec<_> = std::iter::repeat_with(|| {
        let answered = Arc::clone(&answered);
        tokio::spawn(async move {
            while let Some(answer) = ask(at).await {
                let answer = answer.expect("a connection that was made is served");
                assert!(answer.ends_with("here"), "{answer:?}");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        })
    })
    .take(16)
    .collect();
    while answered.load(Ordering::Relaxed) < 200 {
        tokio::task::yield_now().await;
    }
    shutdown.cancel();
    served.await.unwrap();
    for client in clients {
        client.await.unwrap();
    }
    answered.load(Ordering::Relaxed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_that_is_made_during_a_shutdown_is_reset() {
    for _ in 0..4 {
        let rounds: Vec<_> = std::iter::repeat_with(|| tokio::spawn(shut_down_under_load()))
            .take(8)
            .collect();
        for round in rounds {
            assert!(round.await.unwrap() >= 200);
        }
    }
}
