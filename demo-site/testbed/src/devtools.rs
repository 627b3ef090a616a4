//! What happens to a browser from outside of its pages: no network, a process that dies, a restart.

use std::fmt;

use anyhow::Context as _;
use fantoccini::wd::WebDriverCompatibleCommand;
use reqwest::Method;
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use url::{ParseError, Url};

use crate::{
    Browser,
    process::{descendants, resident_bytes},
};

/// A `DevTools` command, in the form that chromedriver takes.
struct Command {
    name: &'static str,
    parameters: Value,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl WebDriverCompatibleCommand for Command {
    fn endpoint(&self, base_url: &Url, session_id: Option<&str>) -> Result<Url, ParseError> {
        let session = session_id.unwrap_or_default();
        base_url.join(&format!("session/{session}/goog/cdp/execute"))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        let body = json!({ "cmd": self.name, "params": self.parameters });
        (Method::POST, Some(body.to_string()))
    }
}

impl Browser {
    /// Sends a command of the `DevTools` protocol to the window.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn devtools(&self, name: &'static str, parameters: Value) -> anyhow::Result<Value> {
        let command = Command { name, parameters };
        let answer = self.page.issue_cmd(command).await;
        answer.with_context(|| name.to_owned())
    }

    /// Takes the network away from the window, or gives it back.
    ///
    /// # Errors
    /// If the browser can't.
    pub async fn set_offline(&self, offline: bool) -> anyhow::Result<()> {
        self.devtools("Network.enable", json!({})).await?;
        let conditions = json!({
            "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
        });
        self.devtools("Network.emulateNetworkConditions", conditions)
            .await?;
        Ok(())
    }

    /// `kill -9` of the process that shows the page. Another window must be there to go on with.
    ///
    /// # Errors
    /// If the process is not found, or the page lives on.
    pub async fn kill_renderer(&self) -> anyhow::Result<()> {
        // Nothing outside says which process shows which page; none but this one is so large.
        const WEIGHT: u64 = 200 << 20;
        self.run(&format!(
            "window.weight = new Uint8Array({WEIGHT}).fill(1); return weight.length"
        ))
        .await?;
        let renderer = descendants(self.driver())?
            .into_iter()
            .filter(|(_, command)| command.contains("--type=renderer"))
            .find(|(id, _)| resident_bytes(*id) > WEIGHT)
            .context("no process is as large as the page")?;
        kill_process(renderer.0, Signal::KILL)?;
        crate::eventually("the tab has crashed", crate::browser::LIMIT, || async {
            Ok(self.run("return 1").await.is_err().then_some(()))
        })
        .await
    }
}
