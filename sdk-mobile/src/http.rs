//! The built-in HTTP: a thread that sends, for hosts that don't.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use reqwest::Client;
use reqwest::header::RETRY_AFTER;
use reqwest::redirect::Policy;

use crate::app::{Shared, Task, Upload};

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long one wait for a task is.
const WAIT: Duration = Duration::from_secs(60);
/// An answer is shorter.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Starts the thread; it ends with the SDK.
pub(crate) fn start(shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let client = Client::builder()
        .redirect(Policy::none())
        .timeout(TIMEOUT)
        .build()
        .map_err(io::Error::other)?;
    std::thread::Builder::new()
        .name("wakeline-http".to_owned())
        .spawn(move || {
            loop {
                match shared.next_task(WAIT) {
                    Task::Send(upload) => {
                        let id = upload.id;
                        let (status, retry_after, body) = runtime
                            .block_on(send(&client, upload))
                            .unwrap_or((0, String::new(), Vec::new()));
                        shared.task_done(id, status, &retry_after, &body);
                    }
                    Task::Wait => {}
                    Task::Stop => return,
                }
            }
        })
}

async fn send(client: &Client, upload: Upload) -> reqwest::Result<(u16, String, Vec<u8>)> {
    let mut request = client.post(upload.url).body(upload.body);
    for (name, value) in upload.headers {
        request = request.header(name, value);
    }
    let mut response = request.send().await?;
    let retry_after = response.headers().get(RETRY_AFTER);
    let retry_after = retry_after
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER_BYTES {
            break;
        }
    }
    Ok((response.status().as_u16(), retry_after, body))
}
