//! Agents against what others collected: the fixtures of PyPI `device-detector`, the strings of npm `crawler-user-agents`.
//!
//! Both are fetched once into the cache (`WAKELINE_CACHE`, else `~/.cache/wakeline`) by `pip` and `npm`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::Hints;
use super::{Agent, OTHER, parse};

const DETECTOR: &str = "6.5.1";
const CRAWLERS: &str = "1.60.0";

fn cache() -> PathBuf {
    let set = |name| std::env::var_os(name).map(PathBuf::from);
    set("WAKELINE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("wakeline")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/wakeline")))
        .expect("set WAKELINE_CACHE to a folder for downloads")
}

/// The folder that `program` fills, made once: a half-filled one has another name.
fn fetched(name: &str, fill: impl FnOnce(&Path) -> Command) -> PathBuf {
    let folder = cache().join(name);
    if folder.exists() {
        return folder;
    }
    let partial = cache().join(format!("{name}.{}", std::process::id()));
    std::fs::create_dir_all(&partial).unwrap();
    let mut command = fill(&partial);
    let done = command.status();
    assert!(
        done.as_ref().is_ok_and(std::process::ExitStatus::success),
        "{name} can't be fetched: `{command:?}` gave {done:?}; the test needs it, and access to the package registry"
    );
    // Another test run may have been quicker.
    let _ = std::fs::rename(&partial, &folder);
    folder
}

fn detector() -> PathBuf {
    let folder = fetched(&format!("device-detector-{DETECTOR}"), |into| {
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--disable-pip-version-check",
            "--root-user-action=ignore",
            "--target",
        ]);
        pip.arg(into).arg(format!("device-detector=={DETECTOR}"));
        pip
    });
    folder.join("device_detector/tests/fixtures/upstream")
}

fn crawlers() -> Vec<String> {
    let folder = fetched(&format!("crawler-user-agents-{CRAWLERS}"), |into| {
        let mut npm = Command::new("npm");
        npm.args([
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--prefix",
        ]);
        npm.arg(into).arg(format!("crawler-user-agents@{CRAWLERS}"));
        npm
    });
    let text =
        std::fs::read(folder.join("node_modules/crawler-user-agents/crawler-user-agents.json"))
            .unwrap();
    let entries: Vec<serde_json::Value> = serde_json::from_slice(&text).unwrap();
    let instances = entries
        .iter()
        .filter_map(|entry| entry["instances"].as_array());
    instances
        .flatten()
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

/// The values of one fixture by their path: `os.name`. Enough of YAML for these files.
type Fixture = BTreeMap<String, String>;

fn fixtures(folder: &Path) -> Vec<(String, Fixture)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut all = Vec::new();
    for path in files
        .iter()
        .filter(|path| path.extension().is_some_and(|kind| kind == "yml"))
    {
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut section = String::new();
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let entry = line
                .strip_prefix('-')
                .filter(|rest| rest.is_empty() || rest.starts_with(' '));
            if entry.is_some() {
                all.push((file.clone(), Fixture::new()));
            }
            let line = entry.map_or_else(|| line.to_owned(), |rest| format!(" {rest}"));
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            let Some((_, fixture)) = all.last_mut() else {
                continue;
            };
            let (depth, key, value) =
                (key.len() - key.trim_start().len(), key.trim(), value.trim());
            if depth <= 2 {
                section = if value.is_empty() {
                    format!("{key}.")
                } else {
                    String::new()
                };
            }
            if !value.is_empty() {
                fixture
                    .entry(format!("{section}{key}").to_ascii_lowercase())
                    .or_insert_with(|| scalar(value));
            }
        }
    }
    all.retain(|(_, fixture)| fixture.contains_key("user_agent"));
    all
}

fn scalar(text: &str) -> String {
    if let Some(quoted) = text
        .strip_prefix('\'')
        .and_then(|text| text.strip_suffix('\''))
    {
        return quoted.replace("''", "'");
    }
    match text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
    {
        Some(quoted) => quoted.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => text.to_owned(),
    }
}

fn agent(fixture: &Fixture) -> Agent {
    let get = |key: &str| fixture.get(key).cloned().unwrap_or_default();
    let header = |name: &str| {
        let plain = get(&format!("headers.{name}"));
        if plain.is_empty() {
            get(&format!("headers.http-{name}"))
        } else {
            plain
        }
    };
    let full = header("sec-ch-ua-full-version-list");
    let hints = Hints {
        brands: if full.is_empty() {
            header("sec-ch-ua")
        } else {
            full
        },
        mobile: header("sec-ch-ua-mobile"),
        platform: header("sec-ch-ua-platform"),
        platform_version: header("sec-ch-ua-platform-version"),
        model: header("sec-ch-ua-model"),
        no_language: false,
    };
    parse(&get("user_agent"), &hints)
}

/// device-detector's names of systems, in ours. As published in `docs/enrichment.md`.
fn os(theirs: &str, family: &str) -> &'static str {
    match (theirs, family) {
        ("", _) => "",
        ("Windows" | "Windows Phone" | "Windows CE" | "Windows Mobile" | "Windows RT", _) => {
            "Windows"
        }
        ("Mac", _) => "macOS",
        ("iOS", _) => "iOS",
        ("iPadOS", _) => "iPadOS",
        ("tvOS", _) => "tvOS",
        ("watchOS", _) => "watchOS",
        ("Fire OS", _) => "Fire OS",
        ("Chrome OS" | "Chromium OS", _) => "ChromeOS",
        ("HarmonyOS" | "HarmonyOS NEXT" | "OpenHarmony", _) => "HarmonyOS",
        ("Tizen", _) => "Tizen",
        ("webOS", _) => "webOS",
        ("KaiOS", _) => "KaiOS",
        ("PlayStation" | "PlayStation Portable", _) => "PlayStation",
        (_, "Android") => "Android",
        (_, "GNU/Linux") => "Linux",
        _ => OTHER,
    }
}

/// device-detector's types of devices, in ours.
fn device(theirs: &str) -> &'static str {
    match theirs {
        "" => "",
        "smartphone" | "phablet" | "feature phone" | "portable media player" => "Mobile",
        "tablet" => "Tablet",
        "tv" | "peripheral" => "TV",
        "desktop" => "Desktop",
        "console" => "Console",
        "wearable" => "Wearable",
        "car browser" => "Car",
        _ => OTHER,
    }
}

/// device-detector's names of clients, in ours.
fn browser(theirs: &str) -> &'static str {
    const NAMES: &[(&str, &str)] = &[
        ("Chrome Mobile iOS", "Chrome"),
        ("Chrome Mobile", "Chrome"),
        ("Chrome Webview", "Android WebView"),
        ("Mobile Safari", "Safari"),
        ("Firefox Mobile iOS", "Firefox"),
        ("Firefox Mobile", "Firefox"),
        ("Microsoft Edge", "Edge"),
        ("Opera Mobile", "Opera"),
        ("Opera GX", "Opera"),
        ("Opera Touch", "Opera"),
        ("Opera Next", "Opera"),
        ("Opera Devices", "Opera"),
        ("Opera Mini iOS", "Opera Mini"),
        ("Samsung Browser", "Samsung Internet"),
        ("IE Mobile", "Internet Explorer"),
        ("DuckDuckGo Privacy Browser", "DuckDuckGo"),
        ("Yandex Browser Lite", "Yandex Browser"),
        ("Yandex Browser Corp", "Yandex Browser"),
        ("UC Browser Turbo", "UC Browser"),
        ("UC Browser Mini", "UC Browser"),
        ("UC Browser HD", "UC Browser"),
        ("QQ Browser Lite", "QQ Browser"),
        ("QQ Browser Mini", "QQ Browser"),
        ("Mi Browser", "MIUI Browser"),
        ("Huawei Browser Mobile", "Huawei Browser"),
        ("Facebook Lite", "Facebook"),
        ("Facebook Messenger", "Facebook"),
        ("Instagram App", "Instagram"),
        ("Google Search App", "Google App"),
        ("Mobile Silk", "Amazon Silk"),
        ("Twitter", "X"),
        ("Line", "LINE"),
        ("Whale Browser", "Whale"),
        ("Baidu Box App", "Baidu"),
        ("Baidu Box App Lite", "Baidu"),
        ("Baidu Browser", "Baidu"),
        ("Baidu Spark", "Baidu"),
        ("HeyTapBrowser", "OPPO Browser"),
        ("Oppo Browser", "OPPO Browser"),
    ];
    if let Some((_, ours)) = NAMES.iter().find(|(name, _)| *name == theirs) {
        return ours;
    }
    let known = wakeline_proto::lists::BROWSERS
        .iter()
        .find(|name| **name == theirs);
    known.copied().unwrap_or(OTHER)
}

/// What has no name of its own is other or unknown, which is the same to whoever reads a report.
fn same(ours: &str, theirs: &str) -> bool {
    ours == theirs || matches!((ours, theirs), ("" | "(other)", "" | "(other)"))
}

#[test]
fn most_fixtures_of_device_detector_are_read_alike() {
    let all = fixtures(&detector());
    let people: Vec<_> = all.iter().filter(|(file, _)| file != "bots").collect();
    assert!(people.len() > 30_000, "{} fixtures", people.len());
    let (mut systems, mut devices, mut browsers, mut bots) = (0, 0, 0, 0);
    let mut misses: BTreeMap<String, (u32, String)> = BTreeMap::new();
    for (_, fixture) in &people {
        let get = |key: &str| fixture.get(key).map_or("", String::as_str);
        let ours = agent(fixture);
        let mut check = |what: &str, ours: &str, theirs: &str, raw: &str, count: &mut usize| {
            if same(ours, theirs) {
                *count += 1;
            } else {
                let miss = misses
                    .entry(format!("{what}: {raw:?} is read as {ours:?}"))
                    .or_default();
                *miss = (miss.0 + 1, get("user_agent").to_owned());
            }
        };
        let name = get("os.name");
        check(
            "os",
            ours.os,
            os(name, get("os_family")),
            name,
            &mut systems,
        );
        let name = get("device.type");
        check("device", ours.device, device(name), name, &mut devices);
        let name = get("client.name");
        check("browser", ours.browser, browser(name), name, &mut browsers);
        bots += usize::from(ours.bot.is_some());
    }
    // Of the half that `models.txt` was not made from.
    let held_out: Vec<_> = people
        .iter()
        .filter(|(_, fixture)| {
            let mut crc = flate2::Crc::new();
            crc.update(fixture["user_agent"].as_bytes());
            crc.sum() & 1 == 1
        })
        .collect();
    let right = held_out.iter().filter(|(_, fixture)| {
        let name = fixture.get("device.type").map_or("", String::as_str);
        same(agent(fixture).device, device(name))
    });
    let held_out = right.count() as f64 * 100.0 / held_out.len() as f64;
    println!("device, of the half held out: {held_out:.2} %");
    assert!(held_out >= 93.0, "device, held out: {held_out:.2} %");
    let percent = |count: usize| count as f64 * 100.0 / people.len() as f64;
    println!(
        "of {}: OS {:.2} %, device {:.2} %, browser {:.2} %, taken for bots {bots} ({:.3} %)",
        people.len(),
        percent(systems),
        percent(devices),
        percent(browsers),
        percent(bots)
    );
    let mut misses: Vec<_> = misses.into_iter().collect();
    misses.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    for (what, (count, example)) in misses.iter().take(60) {
        println!("{count:6} {what}: {example}");
    }
    assert!(percent(systems) >= 95.0, "OS: {:.2} %", percent(systems));
    assert!(
        percent(devices) >= 92.0,
        "device: {:.2} %",
        percent(devices)
    );
    assert!(
        percent(browsers) >= 90.0,
        "browser: {:.2} %",
        percent(browsers)
    );
    assert!(
        percent(bots) <= 0.1,
        "taken for bots: {:.3} %",
        percent(bots)
    );
}

#[test]
fn every_string_of_crawler_user_agents_is_a_bot() {
    let all = crawlers();
    assert!(all.len() > 2_000, "{} strings", all.len());
    let missed: Vec<_> = all
        .iter()
        .filter(|text| parse(text, &Hints::default()).bot.is_none())
        .collect();
    assert!(missed.is_empty(), "{missed:#?}");
}
