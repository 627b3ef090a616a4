//! `DATA/admin.sock`: a line of JSON in, a line of JSON out.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream as StdStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader as AsyncReader},
    net::{UnixListener, UnixStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{AdminError, AdminRequest, SiteRequest, execute, perform};
use crate::{
    control::Control,
    ledger::Desk,
    lock::{FolderLock, LockError},
};

/// Name of the socket in the data folder.
const SOCKET: &str = "admin.sock";
/// Name of the control store in the data folder.
const CONTROL: &str = "control.sqlite";

/// Bytes of a line either way.
const MAX_LINE: u64 = 16 << 20;
/// How long a peer may take to send its line.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a command waits for a folder that is in use to be let go of, or for its server to answer.
const START_TIME: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Ok(Value),
    Error(String),
}

/// The listening end; the socket's file goes with it.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Listens in `data`, whose lock the caller holds: a socket file found there is a dead server's.
    pub fn bind(data: &Path) -> io::Result<Self> {
        let path = data.join(SOCKET);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(|error| {
            // The system's own message for a long path names no path.
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Answers until `shutdown` fires and the answers in progress are given.
    pub async fn run(self, control: Arc<Control>, desk: Arc<Desk>, shutdown: CancellationToken) {
        let answers = TaskTracker::new();
        loop {
            let stream = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "accept on the admin socket");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
            };
            let (control, desk) = (Arc::clone(&control), Arc::clone(&desk));
            answers.spawn(async move {
                match tokio::time::timeout(PATIENCE, answer(stream, &control, &desk)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "answer on the admin socket"),
                    Err(_) => tracing::debug!("a caller on the admin socket took too long"),
                }
            });
        }
        answers.close();
        answers.wait().await;
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // A file that stays is removed by the next server.
        let _ = fs::remove_file(&self.path);
    }
}

async fn answer(stream: UnixStream, control: &Arc<Control>, desk: &Desk) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    AsyncReader::new(read.take(MAX_LINE))
        .read_line(&mut line)
        .await?;
    let answer = match serde_json::from_str::<AdminRequest>(&line) {
        Ok(request) => match perform(control, desk, request).await {
            Ok(value) => Answer::Ok(value),
            Err(error) => Answer::Error(error.to_string()),
        },
        Err(error) => Answer::Error(format!("request: {error}")),
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    write.write_all(&line).await
}

/// Has `request` carried out: by the server that runs on `data`, or here if there is none.
pub fn ask(data: &Path, request: AdminRequest) -> Result<Value, AdminError> {
    // Only who makes the first site means to begin; a folder that was mistyped is not to be made.
    let begins = matches!(request, AdminRequest::Site(SiteRequest::Create(_)));
    if !begins && !data.exists() {
        return Err(AdminError::NoFolder(data.to_owned()));
    }
    // A server that starts has the folder for a moment before it answers, and so has another command.
    let until = Instant::now() + START_TIME;
    loop {
        if let Some(answer) = ask_server(data, &request)? {
            return Ok(answer);
        }
        match FolderLock::take(data) {
            Ok(_lock) => return execute(&Control::open(&data.join(CONTROL))?, request),
            Err(LockError::InUse(_)) if Instant::now() < until => std::thread::sleep(PAUSE),
            Err(LockError::InUse(folder)) => return Err(AdminError::InUse(folder)),
            Err(LockError::Io(path, error)) => return Err(AdminError::Io(path, error)),
        }
    }
}

/// Asks the server that runs on `data`; `None` if there is none.
fn ask_server(data: &Path, request: &AdminRequest) -> Result<Option<Value>, AdminError> {
    let path = data.join(SOCKET);
    let mut stream = match StdStream::connect(&path) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => {
            return Err(AdminError::Io(path, error));
        }
    };
    let answer = exchange(&mut stream, request).map_err(|error| AdminError::Io(path, error))?;
    match answer {
        Answer::Ok(value) => Ok(Some(value)),
        Answer::Error(error) => Err(AdminError::Server(error)),
    }
}

fn exchange(stream: &mut StdStream, request: &AdminRequest) -> io::Result<Answer> {
    stream.set_read_timeout(Some(2 * PATIENCE))?;
    stream.set_write_timeout(Some(2 * PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_LINE)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}
