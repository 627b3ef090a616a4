//! Closed lists: names that stand as numbers on the wire and in state.
//!
//! A name's number is its place. Names are only added, at the end: a place never changes its meaning. 0 is "unknown"
//! (of channels, "Direct"); a reader takes a number that it does not know as [`OTHER`].

/// What stands for everything that has no name of its own in a list.
pub const OTHER: &str = "(other)";

/// Classes of devices.
pub const DEVICES: &[&str] = &[
    "", "Desktop", "Mobile", "Tablet", "TV", "Console", "Wearable", "Car", OTHER,
];

/// Browsers, and other software that shows pages.
pub const BROWSERS: &[&str] = &[
    "",
    OTHER,
    "Chrome",
    "Safari",
    "Firefox",
    "Edge",
    "Opera",
    "Samsung Internet",
    "Internet Explorer",
    "Brave",
    "Vivaldi",
    "DuckDuckGo",
    "Yandex Browser",
    "UC Browser",
    "QQ Browser",
    "MIUI Browser",
    "Huawei Browser",
    "Opera Mini",
    "Android Browser",
    "Android WebView",
    "iOS WebView",
    "Facebook",
    "Instagram",
    "TikTok",
    "WeChat",
    "Google App",
    "Amazon Silk",
    "Snapchat",
    "Pinterest",
    "LinkedIn",
    "X",
    "LINE",
    "KakaoTalk",
    "Naver",
    "Whale",
    "Baidu",
    "Ecosia",
    "OPPO Browser",
    "vivo Browser",
    "Quark",
    "Coc Coc",
];

/// Operating systems.
pub const SYSTEMS: &[&str] = &[
    "",
    OTHER,
    "Windows",
    "macOS",
    "iOS",
    "iPadOS",
    "Android",
    "Linux",
    "ChromeOS",
    "HarmonyOS",
    "Tizen",
    "webOS",
    "PlayStation",
    "Xbox",
    "Fire OS",
    "tvOS",
    "watchOS",
    "KaiOS",
];

/// Channels of acquisition; names and rules are those of GA4's default channel group, with AI assistants.
pub const CHANNELS: &[&str] = &[
    "Direct",
    "Organic Search",
    "Paid Search",
    "Organic Social",
    "Paid Social",
    "Organic Video",
    "Paid Video",
    "Organic Shopping",
    "Paid Shopping",
    "Display",
    "Paid Other",
    "Cross-network",
    "Email",
    "Affiliates",
    "Referral",
    "AI Assistants",
    "SMS",
    "Audio",
    "Mobile Push Notifications",
];

/// The name at a place of a list; [`OTHER`] for one that this version does not know.
pub fn name(list: &'static [&'static str], code: u32) -> &'static str {
    list.get(code as usize).copied().unwrap_or(OTHER)
}

/// The place of a name.
pub fn code(list: &[&str], name: &str) -> Option<u32> {
    (list.iter().position(|known| *known == name)).map(|at| at as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_one_place() {
        for list in [DEVICES, BROWSERS, SYSTEMS, CHANNELS] {
            for (at, entry) in list.iter().enumerate() {
                assert_eq!(code(list, entry), Some(at as u32), "{entry}");
                assert_eq!(name(list, at as u32), *entry);
            }
            assert_eq!(name(list, u32::MAX), OTHER);
        }
    }
}
