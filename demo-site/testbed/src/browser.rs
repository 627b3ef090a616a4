//! Headless Chromium, driven by WebDriver.

use std::{path::Path, process::Command, time::Duration};

use anyhow::Context as _;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    debian,
    process::{self, Process},
};

/// What a browser may take for something that it does at once on a machine that is not busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
/// Arguments of every browser.
const ALWAYS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];
/// What makes a browser say of itself what a Chrome with a window says.
const DISGUISE: &[&str] = &[
    "--user-agent=Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "--disable-blink-features=AutomationControlled",
];

/// A browser with an empty profile. One window at a time; a new session has a new profile.
pub struct Browser {
    /// The WebDriver session.
    pub page: Client,
    driver: Process,
    profile: TempDir,
    disguise: &'static [&'static str],
}

impl Browser {
    /// Starts Chromium with a window of `width` × `height` CSS pixels.
    ///
    /// # Errors
    /// If Chromium or its driver are missing and may not be installed, or don't start.
    pub async fn start(width: u32, height: u32) -> anyhow::Result<Self> {
        Self::open(TempDir::new()?, width, height, &[]).await
    }

    /// The same, as pages see the browser of a person: it does not say that it is headless, nor that a program steers
    /// it. Clients that leave out programs send nothing otherwise.
    ///
    /// # Errors
    /// If Chromium or its driver are missing and may not be installed, or don't start.
    pub async fn start_as_a_persons(width: u32, height: u32) -> anyhow::Result<Self> {
        Self::open(TempDir::new()?, width, height, DISGUISE).await
    }

    /// Closes the browser as a person does, and starts it again with the same profile.
    ///
    /// # Errors
    /// If it does not close or start.
    pub async fn restart(mut self, width: u32, height: u32) -> anyhow::Result<Self> {
        self.page.clone().close().await?;
        self.driver.kill()?;
        let profile = std::mem::replace(&mut self.profile, TempDir::new()?);
        let disguise = self.disguise;
        drop(self);
        Self::open(profile, width, height, disguise).await
    }

    async fn open(
        profile: TempDir,
        width: u32,
        height: u32,
        disguise: &'static [&'static str],
    ) -> anyhow::Result<Self> {
        let chromium = debian::program("chromium", &["chromium"])?;
        let chromedriver = debian::program("chromedriver", &["chromium-driver"])?;
        let (driver, port) = start_driver(&chromedriver)?;
        let mut arguments = vec![
            format!("--user-data-dir={}", profile.path().display()),
            format!("--window-size={width},{height}"),
        ];
        let further = ALWAYS.iter().chain(disguise);
        arguments.extend(further.map(|argument| (*argument).to_owned()));
        let options = json!({"binary": chromium, "args": arguments});
        let mut capabilities = serde_json::Map::new();
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        capabilities.insert("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL" }));
        let page = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .with_context(|| format!("start chromium:\n{}", driver.output()))?;
        Ok(Self {
            page,
            driver,
            profile,
            disguise,
        })
    }

    /// The driver's process id.
    pub(crate) fn driver(&self) -> u32 {
        self.driver.id()
    }

    /// Runs JavaScript in the page and gives what it returns.
    ///
    /// # Errors
    /// If it throws.
    pub async fn run(&self, script: &str) -> anyhow::Result<Value> {
        Ok(self.page.execute(script, Vec::new()).await?)
    }

    /// Text that a person can read on the page.
    ///
    /// # Errors
    /// If the page can't be asked.
    pub async fn text(&self) -> anyhow::Result<String> {
        let text = self.run("return document.body.innerText").await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// What the page looks like, as PNG.
    ///
    /// # Errors
    /// If the page can't be asked.
    pub async fn screenshot(&self) -> anyhow::Result<Vec<u8>> {
        Ok(self.page.screenshot().await?)
    }

    /// Ends the session and the processes.
    ///
    /// # Errors
    /// If the driver does not answer.
    pub async fn close(mut self) -> anyhow::Result<()> {
        self.page.clone().close().await?;
        self.driver.kill()
    }
}

/// Starts a driver on a free port. It takes one for IPv4 and then wants the same for IPv6: if somebody else was quicker,
/// it ends, and the next one tries another.
fn start_driver(chromedriver: &Path) -> anyhow::Result<(Process, u16)> {
    let mut attempts = 5;
    loop {
        let mut driver =
            Process::start("chromedriver", Command::new(chromedriver).arg("--port=0"))?;
        let port = driver.wait_for(Duration::from_secs(30), |line| {
            let port = line.strip_prefix("ChromeDriver was started successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        attempts -= 1;
        match port {
            Ok(port) => return Ok((driver, port)),
            Err(error) if attempts == 0 => return Err(error),
            Err(_) => {}
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.kill(); // already gone is as good
        // A driver that is killed leaves its browser behind.
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        for id in process::with_argument(&profile) {
            let _ = kill_process(id, Signal::KILL); // its parent may have taken it along
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Browser;
    use crate::{eventually, process};

    #[tokio::test]
    async fn a_browser_that_is_dropped_leaves_no_process_behind() -> anyhow::Result<()> {
        let browser = Browser::start(400, 300).await?;
        let profile = format!("--user-data-dir={}", browser.profile.path().display());
        assert_ne!(process::with_argument(&profile), []);
        drop(browser);
        eventually(
            "its processes are gone",
            Duration::from_secs(10),
            || async { Ok(process::with_argument(&profile).is_empty().then_some(())) },
        )
        .await
    }
}
