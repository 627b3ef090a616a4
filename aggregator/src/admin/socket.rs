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
    net::{UnixListener, UnixStream, unix::OwnedWriteHalf},
    sync::watch,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{AdminError, AdminRequest, SiteRequest, carry_out, execute, is_long, needs_state};
use crate::{
    causes::Causes,
    config::Config,
    control::Control,
    generations::{Generations, Step},
    ledger::Desk,
    lock::{FolderLock, LockError},
    server::{self, StartError},
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
    /// More is to come.
    Step(Step),
    Ok(Value),
    Error(String),
}

/// The listening end; the socket's file goes with it.
#[derive(Debug)]
pub(crate) struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Listens in `data`, whose lock the caller holds: a socket file found there is a dead server's.
    pub(crate) fn bind(data: &Path) -> io::Result<Self> {
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
    pub(crate) async fn run(
        self,
        generations: Arc<Generations>,
        desk: Arc<Desk>,
        shutdown: CancellationToken,
    ) {
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
            let (generations, desk) = (Arc::clone(&generations), Arc::clone(&desk));
            answers.spawn(async move {
                if let Err(error) = answer(stream, &generations, &desk).await {
                    tracing::debug!(%error, "answer on the admin socket");
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

async fn answer(stream: UnixStream, generations: &Arc<Generations>, desk: &Desk) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = AsyncReader::new(read.take(MAX_LINE));
    let read = tokio::time::timeout(PATIENCE, read.read_line(&mut line));
    read.await.map_err(io::Error::other)??;
    let request = match serde_json::from_str::<AdminRequest>(&line) {
        Ok(request) => request,
        Err(error) => {
            return write_line(&mut write, Answer::Error(format!("request: {error}"))).await;
        }
    };
    let (tell, mut steps) = watch::channel(None);
    let work = carry_out(generations, desk, request, |step| {
        tell.send_replace(Some(step));
    });
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => {
                let answer = match done {
                    Ok(value) => Answer::Ok(value),
                    Err(error) => Answer::Error(Causes(&error).to_string()),
                };
                return write_line(&mut write, answer).await;
            }
            Ok(()) = steps.changed() => {
                let step = steps.borrow_and_update().clone();
                if let Some(step) = step {
                    // Whoever asked may be gone: what was begun is finished.
                    let _ = write_line(&mut write, Answer::Step(step)).await;
                }
            }
        }
    }
}

async fn write_line(write: &mut OwnedWriteHalf, answer: Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    let written = tokio::time::timeout(PATIENCE, write.write_all(&line));
    written.await.map_err(io::Error::other)?
}

/// Has `request` carried out: by the server that runs on the folder, or here if there is none. `tell` is called while a
/// long one goes on.
pub fn ask(
    config: &Config,
    request: &AdminRequest,
    mut tell: impl FnMut(Step),
) -> Result<Value, AdminError> {
    let data = &config.data;
    // Only who makes the first site means to begin; a folder that was mistyped is not to be made.
    let begins = matches!(request, AdminRequest::Site(SiteRequest::Create(_)));
    if !begins && !data.exists() {
        return Err(AdminError::NoFolder(data.clone()));
    }
    // A server that starts has the folder for a moment before it answers, and so has another command.
    let until = Instant::now() + START_TIME;
    loop {
        if let Some(answer) = ask_server(data, request, &mut tell)? {
            return Ok(answer);
        }
        let error = match here(config, request, &mut tell) {
            Err(Here::InUse(_)) if Instant::now() < until => {
                std::thread::sleep(PAUSE);
                continue;
            }
            Err(error) => error,
            Ok(answer) => return Ok(answer),
        };
        return Err(match error {
            Here::InUse(folder) => AdminError::InUse(folder),
            Here::Failed(error) => error,
        });
    }
}

/// Why a request was not carried out here.
enum Here {
    InUse(PathBuf),
    Failed(AdminError),
}

/// Carries a request out on the folder, which no server uses.
fn here(
    config: &Config,
    request: &AdminRequest,
    tell: &mut impl FnMut(Step),
) -> Result<Value, Here> {
    if needs_state(request) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Here::Failed(AdminError::Io(config.data.clone(), error)))?;
        return runtime.block_on(on_state(config, request, tell));
    }
    match FolderLock::take(&config.data) {
        Ok(_lock) => Control::open(&config.data.join(CONTROL))
            .map_err(AdminError::from)
            .and_then(|control| execute(&control, request.clone()))
            .map_err(Here::Failed),
        Err(LockError::InUse(folder)) => Err(Here::InUse(folder)),
        Err(LockError::Io(path, error)) => Err(Here::Failed(AdminError::Io(path, error))),
    }
}

async fn on_state(
    config: &Config,
    request: &AdminRequest,
    tell: &mut impl FnMut(Step),
) -> Result<Value, Here> {
    let generations = match Generations::open_folder(config.clone()) {
        Ok(generations) => generations,
        Err(StartError::InUse(folder)) => return Err(Here::InUse(folder)),
        Err(error) => return Err(Here::Failed(AdminError::Open(Box::new(error)))),
    };
    let tell = std::cell::RefCell::new(tell);
    let work = async {
        if matches!(
            request,
            AdminRequest::Ledger(_) | AdminRequest::Query { .. }
        ) {
            // Fates are in the state; what the log has and the state has not is applied meanwhile, and said to wait.
            let started = generations.start().await;
            started.map_err(|error| AdminError::Open(Box::new(error)))?;
        }
        if super::lake::is_about(request) {
            let started = generations.start().await;
            let started = started.and_then(|()| generations.start_lake());
            started.map_err(|error| AdminError::Open(Box::new(error)))?;
            generations.lake()?.ready().await?;
        }
        let (desk, _) = server::ledger(config, &generations)
            .map_err(|error| AdminError::Open(Box::new(error)))?;
        carry_out(&generations, &desk, request.clone(), |step| {
            (*tell.borrow_mut())(step);
        })
        .await
    };
    let done = work.await;
    if done.is_ok() && is_long(request) && !super::lake::is_about(request) {
        // Nobody reads the old one.
        Arc::clone(&generations).remove_unused().await;
    }
    generations
        .stop(tokio::time::Instant::now() + PATIENCE)
        .await;
    done.map_err(Here::Failed)
}

/// Asks the server that runs on `data`; `None` if there is none.
fn ask_server(
    data: &Path,
    request: &AdminRequest,
    tell: &mut impl FnMut(Step),
) -> Result<Option<Value>, AdminError> {
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
    let answer = exchange(&mut stream, request, tell).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => AdminError::Ended,
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AdminError::Silent,
        _ => AdminError::Io(path, error),
    })?;
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(AdminError::Server(error)),
    }
}

fn exchange(
    stream: &mut StdStream,
    request: &AdminRequest,
    tell: &mut impl FnMut(Step),
) -> io::Result<Result<Value, String>> {
    // A step waits for whatever holds the state up, and there is no limit to that: the server ends the connection if it ends.
    let patience = (!is_long(request)).then_some(2 * PATIENCE);
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(Some(2 * PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        reader.by_ref().take(MAX_LINE).read_line(&mut line)?;
        if !line.ends_with('\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match serde_json::from_str(&line)? {
            Answer::Step(step) => tell(step),
            Answer::Ok(value) => return Ok(Ok(value)),
            Answer::Error(error) => return Ok(Err(error)),
        }
    }
}
