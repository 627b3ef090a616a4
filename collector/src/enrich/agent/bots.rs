//! Software that says that it is no person's.
//!
//! What calls itself a bot, crawler or the like is one by its words; `bots.txt` names the others. The test takes all
//! strings of npm `crawler-user-agents`.

use std::sync::LazyLock;

pub(crate) use crate::rules::Bot;

/// Lines of a kind and a name in lower case; `^`: the user agent begins with it.
static NAMES: LazyLock<Vec<(Bot, &str)>> = LazyLock::new(|| {
    let lines = include_str!("bots.txt").lines();
    lines
        .filter_map(|line| {
            let (kind, name) = line.split_once(' ')?;
            let kind = match kind {
                "library" => Bot::Library,
                "automation" => Bot::Automation,
                _ => Bot::Crawler,
            };
            Some((kind, name))
        })
        .collect()
});

/// Words that only bots use of themselves.
const WORDS: &[&str] = &[
    "crawl",
    "spider",
    "scan",
    "monitor",
    "archiv",
    "fetch",
    "validat",
    "preview",
    "check",
    "uptime",
    "scrap",
    "lighthouse",
    "webhook",
    "cloudflare",
    "probe",
    "survey",
    "+http",
];
/// Words of people's software that names its home page.
const PEOPLES: &[&str] = &[
    "android", "ios", "iphone", "ipad", "macos", "mac os x", "darwin", "windows", "winnt", "linux",
    "podc", "podb", "reader", ".fm", "breaker", "castero",
];

/// The kind of bot; `ua` is in lower case.
pub(super) fn kind(ua: &str) -> Option<Bot> {
    if ua.is_empty() {
        return None;
    }
    let named = NAMES.iter().find(|(_, name)| match name.strip_prefix('^') {
        Some(beginning) => ua.starts_with(beginning),
        None => ua.contains(name),
    });
    named
        .map(|(kind, _)| *kind)
        .or_else(|| says_so(ua).then_some(Bot::Crawler))
}

/// A browser without a window says so in its brands as well.
pub(super) fn kind_of_brands(brands: &str) -> Option<Bot> {
    brands.contains("HeadlessChrome").then_some(Bot::Automation)
}

fn says_so(ua: &str) -> bool {
    // A device is in the first comment, and there are devices called Spider 8 and M bot 60.
    let device = ua.starts_with("mozilla/5.0 (linux;");
    let said = match ua.find(')') {
        Some(end) if device && !ua[..end].contains("compatible") => &ua[end..],
        _ => ua,
    };
    if WORDS.iter().any(|word| said.contains(word)) || has_bot(said) {
        return true;
    }
    let has_page = ua.contains("http://") || ua.contains("https://");
    if has_page && !PEOPLES.iter().any(|word| ua.contains(word)) {
        return true;
    }
    (has_page || has_mail(ua)) && ua.contains("compatible;") && !ua.contains("msie")
}

/// A word that ends with "bot" or "bots".
fn has_bot(ua: &str) -> bool {
    ua.match_indices("bot").any(|(at, _)| {
        let after = &ua[at + 3..];
        let after = after.strip_prefix('s').unwrap_or(after);
        !after.starts_with(|c: char| c.is_ascii_lowercase()) && !ua[..at].ends_with("cu")
    })
}

/// `someone@example.com`, where a version has digits (`ecosia android@62.0`).
fn has_mail(ua: &str) -> bool {
    ua.match_indices('@').any(|(at, _)| {
        let host = &ua[at + 1..];
        let end = host
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '.'))
            .unwrap_or(host.len());
        let top = host[..end].rsplit_once('.').map(|(_, top)| top);
        top.is_some_and(|top| top.starts_with(|c: char| c.is_ascii_lowercase()))
    })
}
