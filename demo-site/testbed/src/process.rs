//! Real processes, and their real ends.

use std::{
    io::{BufRead as _, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A binary of the workspace, built beside the running test.
///
/// # Errors
/// If it was not built: `cargo test --workspace` builds all of them, `cargo test -p …` only some.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test
        .parent()
        .and_then(|deps| deps.parent())
        .context("the test is not in a target folder")?;
    let path = folder.join(name);
    if !path.is_file() {
        bail!(
            "{} is missing: run `cargo build --workspace --bins` (or `cargo test --workspace`)",
            path.display()
        );
    }
    Ok(path)
}

/// Processes that were started with exactly this argument.
pub(crate) fn with_argument(argument: &str) -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let id = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let found = line
                .split(|byte| *byte == 0)
                .any(|given| given == argument.as_bytes());
            found.then(|| Pid::from_raw(id)).flatten()
        })
        .collect()
}

/// The processes that a process has started, and they, with their command lines.
///
/// # Errors
/// If the system does not tell.
pub(crate) fn descendants(of: u32) -> anyhow::Result<Vec<(Pid, String)>> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        // `id (name) state parent …`; the name may have any characters.
        let parent: Option<i32> = std::fs::read_to_string(path.join("stat"))
            .ok()
            .and_then(|stat| stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok());
        let id: Option<i32> = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        parents.extend(id.zip(parent)); // others, and those that have ended meanwhile, have none
    }
    let mut found: Vec<i32> = vec![i32::try_from(of)?];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        let children = parents.iter().filter(|(_, of)| *of == parent);
        found.extend(children.map(|(id, _)| *id));
        next += 1;
    }
    let with_command = |id: i32| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        Some((Pid::from_raw(id)?, line))
    };
    Ok(found.into_iter().skip(1).filter_map(with_command).collect())
}

/// Memory that a process has in use; 0 if it has ended.
pub(crate) fn resident_bytes(id: Pid) -> u64 {
    let status = format!("/proc/{}/status", id.as_raw_nonzero());
    let kib = std::fs::read_to_string(status).ok().and_then(|status| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    });
    kib.unwrap_or(0) << 10
}

/// A child process, killed on drop. Its output is kept for error messages.
pub struct Process {
    name: String,
    child: Child,
    lines: Receiver<String>,
    output: Arc<Mutex<String>>,
}

impl Process {
    /// Starts `command` and listens to what it prints.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start(name: &str, command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {name}: {command:?}"))?;
        let (sender, lines) = channel();
        let output = Arc::new(Mutex::new(String::new()));
        let pipes: [Option<Box<dyn Read + Send>>; 2] = [
            child
                .stdout
                .take()
                .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
            child
                .stderr
                .take()
                .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        ];
        for pipe in pipes.into_iter().flatten() {
            let sender = sender.clone();
            let output = Arc::clone(&output);
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
                    output.push_str(&line);
                    output.push('\n');
                    drop(output);
                    let _ = sender.send(line); // nobody may be waiting any more
                }
            });
        }
        Ok(Self {
            name: name.to_owned(),
            child,
            lines,
            output,
        })
    }

    /// Waits for a printed line that `pick` takes, and gives what it made of it.
    ///
    /// # Errors
    /// When the process ends or `limit` passes first; with all that was printed.
    pub fn wait_for<T>(
        &mut self,
        limit: Duration,
        pick: impl Fn(&str) -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) => {
                    if let Some(value) = pick(&line) {
                        return Ok(value);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{}: not ready in {limit:?}:\n{}", self.name, self.output())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("{} ended early:\n{}", self.name, self.output())
                }
            }
        }
    }

    /// Everything that was printed so far.
    pub fn output(&self) -> String {
        self.output
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: it has no chance to tidy up. Returns when it is gone.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGSTOP: it is there and does nothing.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT, after [`pause`](Self::pause).
    ///
    /// # Errors
    /// If the system refuses.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = Pid::from_raw(i32::try_from(self.child.id())?).context("no process id")?;
        Ok(kill_process(id, signal)?)
    }

    /// Waits until it has ended by itself, and gives its exit code.
    ///
    /// # Errors
    /// If it has not within `limit`, or a signal ended it.
    pub fn ended(&mut self, limit: Duration) -> anyhow::Result<i32> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return status.code().context("ended by a signal");
            }
            if Instant::now() > deadline {
                bail!("{} runs after {limit:?}:\n{}", self.name, self.output());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGTERM: asks it to end, and waits for that.
    ///
    /// # Errors
    /// If it has not ended within `limit`, or not with code 0.
    pub fn stop(&mut self, limit: Duration) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("{} ended with {status}:\n{}", self.name, self.output());
            }
            if Instant::now() > deadline {
                bail!(
                    "{} did not end within {limit:?}:\n{}",
                    self.name,
                    self.output()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill(); // already gone is as good
    }
}
