//! The system that software runs on.

use super::{OTHER, version_after};

/// Windows says 10 for ever in `User-Agent`; the hint's numbers are of its API
/// (<https://learn.microsoft.com/en-us/microsoft-edge/web-platform/how-to-detect-win11>).
pub(super) fn windows_version(platform_version: &str) -> &'static str {
    match platform_version.split('.').next().map(str::parse::<u32>) {
        Some(Ok(13..)) => "11",
        Some(Ok(1..=12)) => "10",
        _ => "",
    }
}

/// The system and its version.
pub(super) fn system(ua: &str) -> (&'static str, String) {
    let has = |word: &str| ua.contains(word);
    let after = |word: &str| version_after(ua, word);
    if has("windows phone") || has("wpdesktop") || has("zunewp7") || has("xblwp7") {
        return ("Windows", String::new());
    }
    if has("xbox") {
        return ("Xbox", String::new());
    }
    if has("playstation") {
        return ("PlayStation", String::new());
    }
    if has("kaios") {
        return ("KaiOS", after("kaios/"));
    }
    if has("harmonyos") || has("openharmony") || has("arkweb") {
        return ("HarmonyOS", after("harmonyos "));
    }
    if has("tizen") && !has("android") {
        return ("Tizen", after("tizen "));
    }
    if has("web0s") || has("webos") || has("hpwos") || has("netcast") || has("webappmanager") {
        return ("webOS", String::new());
    }
    if has("opera tv") || has("hbbtv") && !has("android") && !has("linux/smarttv") {
        return (OTHER, String::new());
    }
    if is_fire(ua) {
        return ("Fire OS", String::new());
    }
    if has("android") || has("andr0id") || has("; adr ") || ua.contains("juc(linux; u; ") {
        let version = [
            after("android "),
            after("android/"),
            after("android-"),
            after("adr "),
        ];
        let version = version.into_iter().find(|version| !version.is_empty());
        return ("Android", version.unwrap_or_default());
    }
    if let Some(found) = of_apple(ua) {
        return found;
    }
    of_desk(ua)
}

/// Apple's systems but for macOS, which calls itself so beside none of them.
fn of_apple(ua: &str) -> Option<(&'static str, String)> {
    let has = |word: &str| ua.contains(word);
    let after = |word: &str| version_after(ua, word);
    if has("apple tv") || has("appletv") || has("tvos") {
        return Some(("tvOS", after("tvos ")));
    }
    if has("watchos") || has("apple watch") || has("watch os") || has("(watch") {
        return Some(("watchOS", after("watchos ")));
    }
    if has("ipad") || has("ipados") {
        let version = apple_version(ua);
        let major = version
            .split('.')
            .next()
            .and_then(|major| major.parse::<u32>().ok());
        let name = if major.is_some_and(|major| major >= 13) || has("ipados") {
            "iPadOS"
        } else {
            "iOS"
        };
        return Some((name, version));
    }
    if [
        "iphone",
        "ipod",
        "like mac os x",
        "ios ",
        "ios/",
        " ios;",
        "(ios",
    ]
    .iter()
    .any(|word| has(word))
    {
        return Some(("iOS", apple_version(ua)));
    }
    None
}

/// Systems of desks, and what has no name of its own.
fn of_desk(ua: &str) -> (&'static str, String) {
    let has = |word: &str| ua.contains(word);
    let after = |word: &str| version_after(ua, word);
    if has(" cros ") || has("chromeos") {
        return ("ChromeOS", String::new());
    }
    if has("windows")
        || has("winnt")
        || has("win64")
        || has("win98")
        || has("win95")
        || has("microsoft office") && !has("mac")
    {
        let version = match after("windows nt ").as_str() {
            "10.0" => "10",
            "6.3" => "8.1",
            "6.2" => "8",
            "6.1" => "7",
            "6.0" => "Vista",
            "5.1" | "5.2" => "XP",
            _ => "",
        };
        return ("Windows", version.to_owned());
    }
    if has("mac os x")
        || has("macos")
        || has("macintosh")
        || has("mac_powerpc")
        || has("osx")
        || has("macbook")
        || has("mac os")
    {
        let version = [after("mac os x "), after("macos "), after("macos/")];
        let version = version.into_iter().find(|version| !version.is_empty());
        return ("macOS", version.unwrap_or_default());
    }
    if has("darwin") && has("cfnetwork") {
        return (
            if has("x86_64") || has("i386") {
                "macOS"
            } else {
                "iOS"
            },
            String::new(),
        );
    }
    let foreign = [
        "j2me",
        "midp",
        "symbian",
        "series60",
        "blackberry",
        "bb10",
        "playbook",
        "roku",
        "nintendo",
        "maui",
        "bada/",
    ];
    if foreign.iter().any(|word| has(word)) {
        return (OTHER, String::new());
    }
    if has("linux") || has("x11") && !has("bsd") && !has("sunos") || has("ubuntu") {
        return ("Linux", String::new());
    }
    ("", String::new())
}

/// Amazon's own Android: its tablets are `KF…`, its TV sticks `AFT…`.
fn is_fire(ua: &str) -> bool {
    let model = |prefix: &str| {
        ua.match_indices(prefix).any(|(at, _)| {
            let code = &ua[at + prefix.len()..];
            let end = code
                .find(|c: char| !c.is_ascii_alphanumeric())
                .unwrap_or(code.len());
            (1..=6).contains(&end)
        })
    };
    ua.contains("kindle fire")
        || ua.contains("fire os")
        || model("; kf")
        || model("; aft")
        || model("aeo")
}

/// `CPU iPhone OS 17_1 like Mac OS X`, `iOS 15.4`.
fn apple_version(ua: &str) -> String {
    let words = [
        "iphone os ",
        "cpu os ",
        "ipados ",
        "ios ",
        "ios/",
        "iphone_os/",
    ];
    let versions = words.iter().map(|word| version_after(ua, word));
    versions
        .into_iter()
        .find(|version| !version.is_empty())
        .unwrap_or_default()
}
