//! Browser, system, class of device, and whether software says that it is no person's: from `User-Agent` and client hints.
//!
//! By words, not by patterns: a handful of tables and one pass of rules read a header in microseconds and take no memory of
//! their own, where the sets of regular expressions that others ship take tens of megabytes once compiled. What is lost is
//! the model of a device, which nothing here asks for.
//!
//! Names are those of [`wakeline_proto::lists`]; `docs/enrichment.md` maps them to the names of PyPI `device-detector`, by
//! whose fixtures this is tested.

mod bots;
mod device;
#[cfg(test)]
mod fixtures;
mod models;
mod system;
mod words;

use wakeline_proto::lists::{self, OTHER};
use wakeline_proto::v1;

pub(crate) use bots::Bot;

use super::Hints;
use system::{system, windows_version};

/// What is known of software. Empty texts: unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Agent {
    pub(crate) device: &'static str,
    pub(crate) browser: &'static str,
    pub(crate) browser_version: String,
    pub(crate) os: &'static str,
    pub(crate) os_version: String,
    pub(crate) bot: Option<Bot>,
}

impl From<&Agent> for v1::Agent {
    fn from(agent: &Agent) -> Self {
        let code = |list, name| lists::code(list, name).unwrap_or_default();
        Self {
            device: code(lists::DEVICES, agent.device),
            browser: code(lists::BROWSERS, agent.browser),
            browser_version: agent.browser_version.clone(),
            os: code(lists::SYSTEMS, agent.os),
            os_version: agent.os_version.clone(),
        }
    }
}

/// Longest version that is kept, in bytes.
const MAX_VERSION_BYTES: usize = 16;
/// What is looked at of a user agent, in bytes: none that is honest is longer.
const MAX_AGENT_BYTES: usize = 1_024;

/// Reads what a sender says of its software.
pub(crate) fn parse(user_agent: &str, hints: &Hints) -> Agent {
    let mut end = user_agent.len().min(MAX_AGENT_BYTES);
    while !user_agent.is_char_boundary(end) {
        end -= 1;
    }
    let lower = user_agent[..end].to_ascii_lowercase();
    let (mut os, mut os_version) = system(&lower);
    let (mut browser, mut browser_version) = browser(&lower, os);
    let platform = unquoted(&hints.platform);
    if let Some((_, name)) = PLATFORMS.iter().find(|(known, _)| *known == platform) {
        // Systems that are Android by another name are not called so by the hint.
        if !(*name == "Android" && matches!(os, "Fire OS" | "HarmonyOS")) {
            os = name;
        }
        let version = unquoted(&hints.platform_version);
        if os == "Windows" {
            windows_version(version).clone_into(&mut os_version);
        } else if !version.is_empty() {
            os_version = leading_version(version);
        }
    }
    if let Some((name, version)) = brand(&hints.brands) {
        // An app's view says more than the engine that it is made of.
        let engine_only = name == "Chrome" && browser != "Chrome" && !browser.is_empty();
        if !engine_only {
            (browser, browser_version) = (name, version);
        }
    }
    Agent {
        device: device::class(&lower, os, hints),
        browser,
        browser_version,
        os,
        os_version,
        bot: bots::kind(&lower).or_else(|| bots::kind_of_brands(&hints.brands)),
    }
}

/// Platforms as client hints name them.
const PLATFORMS: &[(&str, &str)] = &[
    ("Windows", "Windows"),
    ("macOS", "macOS"),
    ("Mac OS X", "macOS"),
    ("iOS", "iOS"),
    ("Android", "Android"),
    ("Linux", "Linux"),
    ("Chrome OS", "ChromeOS"),
    ("Chromium OS", "ChromeOS"),
    ("HarmonyOS", "HarmonyOS"),
    ("Tizen", "Tizen"),
];

/// Brands as client hints name them. Chromium is in all lists and says nothing.
const BRANDS: &[(&str, &str)] = &[
    ("Google Chrome", "Chrome"),
    ("Microsoft Edge", "Edge"),
    ("Opera", "Opera"),
    ("Opera GX", "Opera"),
    ("Opera Mobile", "Opera"),
    ("OperaMobile", "Opera"),
    ("Brave", "Brave"),
    ("Vivaldi", "Vivaldi"),
    ("YaBrowser", "Yandex Browser"),
    ("Yandex", "Yandex Browser"),
    ("Samsung Internet", "Samsung Internet"),
    ("DuckDuckGo", "DuckDuckGo"),
    ("HuaweiBrowser", "Huawei Browser"),
    ("MiuiBrowser", "MIUI Browser"),
    ("XiaoMiBrowser", "MIUI Browser"),
    ("Android WebView", "Android WebView"),
    ("Whale", "Whale"),
    ("Ecosia", "Ecosia"),
    ("CocCoc", "Coc Coc"),
    ("Quark", "Quark"),
    ("Silk", "Amazon Silk"),
];

/// The first brand of a list (`"Not A;Brand";v="99", "Google Chrome";v="120"`) that has a name, and its version.
fn brand(list: &str) -> Option<(&'static str, String)> {
    list.split(',').find_map(|entry| {
        let (name, version) = entry
            .split_once(";v=")
            .or_else(|| entry.split_once("; v="))?;
        let name = unquoted(name);
        let (_, known) = BRANDS.iter().find(|(brand, _)| *brand == name)?;
        Some((*known, leading_version(unquoted(version))))
    })
}

fn unquoted(text: &str) -> &str {
    text.trim().trim_matches('"')
}

fn browser(ua: &str, os: &str) -> (&'static str, String) {
    let has = |word: &str| ua.contains(word);
    if ua.is_empty() {
        return ("", String::new());
    }
    let named = words::BROWSERS.iter().find(|(word, ..)| has(word));
    if let Some((_, name, version)) = named {
        return (name, version_after(ua, version));
    }
    if words::OTHER_BROWSERS.iter().any(|word| has(word)) {
        return (OTHER, String::new());
    }
    if (has("msie ") || has("trident/")) && !has("firefox/") {
        let version = version_after(ua, "msie ");
        return (
            "Internet Explorer",
            if version.is_empty() {
                version_after(ua, "rv:")
            } else {
                version
            },
        );
    }
    if !ua.starts_with("mozilla/") && !ua.starts_with("dalvik") {
        return (OTHER, String::new());
    }
    if has("firefox/") {
        return ("Firefox", version_after(ua, "firefox/"));
    }
    if has_product_of_its_own(ua) {
        return (OTHER, String::new());
    }
    for word in ["crios/", "chrome/", "crmo/"] {
        if has(word) {
            let android = matches!(os, "Android" | "Fire OS" | "HarmonyOS");
            let view = android && (has("; wv)") || has(" version/"));
            return (
                if view { "Android WebView" } else { "Chrome" },
                version_after(ua, word),
            );
        }
    }
    match os {
        "Android" | "Fire OS" if has("safari") || has("applewebkit") => {
            ("Android Browser", version_after(ua, "version/"))
        }
        "iOS" | "iPadOS" if has("safari/") => ("Safari", version_after(ua, "version/")),
        "iOS" | "iPadOS" if has("applewebkit") => ("iOS WebView", String::new()),
        _ if has("safari/") && has("version/") => ("Safari", version_after(ua, "version/")),
        _ if has("safari/") && os == "macOS" => ("Safari", String::new()),
        _ => (OTHER, String::new()),
    }
}

/// Whether a product stands outside of comments that browsers do not share.
fn has_product_of_its_own(ua: &str) -> bool {
    let mut depth = 0_u32;
    let mut start = 0;
    let mut outside = String::with_capacity(ua.len());
    for (at, c) in ua.char_indices() {
        match c {
            '(' => {
                if depth == 0 {
                    outside.push_str(&ua[start..at]);
                }
                depth += 1;
            }
            ')' if depth > 0 => {
                depth -= 1;
                start = at + 1;
            }
            _ => {}
        }
    }
    if depth == 0 {
        outside.push_str(&ua[start..]);
    }
    outside.split_whitespace().any(|product| {
        product
            .split_once('/')
            .is_some_and(|(name, _)| name.len() > 1 && !words::COMMON_PRODUCTS.contains(&name))
    })
}

/// The version after the first `word`: digits, dots and underscores, which become dots.
fn version_after(ua: &str, word: &str) -> String {
    if word.is_empty() {
        return String::new();
    }
    let after = ua.match_indices(word).map(|(at, _)| &ua[at + word.len()..]);
    let mut versions = after
        .map(leading_version)
        .filter(|version| !version.is_empty());
    versions.next().unwrap_or_default()
}

fn leading_version(text: &str) -> String {
    let digits = text
        .bytes()
        .take(MAX_VERSION_BYTES)
        .map(|byte| if byte == b'_' { b'.' } else { byte });
    let version: String = digits
        .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
        .map(char::from)
        .collect();
    version.trim_matches('.').to_owned()
}
