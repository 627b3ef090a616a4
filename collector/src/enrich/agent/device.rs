//! The class of a device.

use super::super::Hints;
use super::{models, unquoted};

/// Words of televisions and of boxes beside them.
const TELEVISIONS: &[&str] = &[
    "smart-tv",
    "smarttv",
    "smart tv",
    "hbbtv",
    "googletv",
    "google tv",
    "android tv",
    "androidtv",
    "apple tv",
    "appletv",
    "tvos",
    "bravia",
    "netcast",
    "web0s",
    "roku",
    "viera",
    "crkey",
    "tv bro",
    "iptv",
    " tv ",
    " tv)",
    " tv;",
    " tv/",
    "_tv",
    "-tv",
    "tv box",
    "tvbox",
    "ott",
    "mitv",
    "ce-html",
    "opera tv",
    "pov_tv",
    "linux/smarttv",
    "aftt",
    "aftm",
    "aftb",
    "afts",
    "aftn",
    "aftr",
    "aftk",
    "aftg",
    "aftw",
    "aftd",
    "chromecast",
    "mxq",
    "mibox",
    "x96",
    "h96",
    "t95",
    "tx3",
    "whaletv",
    "tivo ",
    "tivo/",
    "tivo_",
    "dtvnetbrowser",
    "stbapp",
    "|stb|",
    "inettv",
    "netrange",
    "nettv",
    "dlnadoc",
    "vidaa",
    "vizio",
    "firetv",
    "smarttva",
    "fvc/",
    "kreatv",
    "ge tv",
    "tv stick",
    "tvstick",
    "dongle",
    "shell",
    "-led",
    "led-",
    " led",
    "openbox",
    "smartbox",
    "smart box",
    "-box",
    "_box",
    "mediabox",
    "polar_",
    "polarline",
    "ugoos",
    "a95x",
    "vontar",
    "rombica",
    "zidoo",
    "mecool",
    "pendoo",
    "formuler",
    "nexon",
    "neo-x",
    "iconbit movie",
    "iconbit stick",
    "lex-",
    "lex_",
    "akai_",
    "beelink",
    "mk808",
    "stick",
    "streaming",
    "atv ",
    "atv)",
    "_atv",
    "tv-",
    "yndx",
    "sberbox",
    "sbdv",
    "dm-led",
    "netbox",
    "; aft",
    "tclwebkit",
    "matador",
    "amigo7",
    "swtv",
    "hty-",
    "s905",
    "superbox",
    "skyline_",
    "flowbox",
    "android box",
    "hdmi",
    "projector",
    "wv-atv",
    "mse)",
];
/// Words of tablets.
const TABLETS: &[&str] = &[
    "ipad",
    "tablet",
    "kindle",
    "playbook",
    "nexus 7",
    "nexus 9",
    "nexus 10",
    "pixel c",
    "mediapad",
    "sm-t",
    "sm-p",
    "sm-x",
    "gt-p",
    "gt-n8",
    "sch-i800",
    "xoom",
    "lenovo tb",
    "lenovotb",
    "lenovo yt",
    "yoga t",
    "ideatab",
    "transformer",
    "pad",
    "tab",
    "mi pad",
    "touchpad",
    "hudl",
    "nook",
    "archos 7",
    "archos 8",
    "archos 9",
    "archos 10",
    "archos 101",
    "lg-v",
    "sgpt",
    "sgp3",
    "sgp5",
    "sgp6",
    "sgp7",
    "me1",
    "me3",
    "p01",
    "p02",
    "venue 7",
    "venue 8",
    "dell streak",
    "tegranote",
    "; mid",
    "; mfc",
    "pmt",
    "; rc0",
    "; rc7",
    "-w09",
    "-w00",
    "-w19",
    "pocketbook",
    "; tb",
    "; 9003",
    "; 9007",
    "; 9013",
    "; 9026",
    "; 9027",
    "; 9032",
    "irulu",
    "bq-10",
    "bq-7",
    "; bq-8",
    "tz7",
    "tz8",
    "tz9",
    "; m-mp",
    "nomi_c0",
    "nomi_c1",
    "optima 7",
    "optima 8",
    "optima 10",
    "; citi ",
    " plane ",
    "; an7",
    "; an8",
    "; an10",
    "iplay",
    "x98",
    "readboy",
    "; b1-7",
    "; b3-a",
    "; a1-7",
    "lark",
    "ruggbo",
    "onda ",
    "chuwi",
    "cube-",
    "; k00",
    "; opd",
    "numy",
    "; dl7",
    "; dl8",
    "; dl1",
    "; rct",
    "; rmd",
    "tm8",
    "tm1",
    "; a500",
    "; ns-",
    "; ac0",
    "; ac1",
    "nb7",
    "nb8",
    "nb10",
    "; lifetab",
    "; tt1",
    "xelio",
    "surfpad",
    "; mt7",
    "; gem-",
    "; m7",
    "; m8l",
    "; m10",
];

/// The class, of [`wakeline_proto::lists::DEVICES`]; empty: unknown.
pub(super) fn class(ua: &str, os: &str, hints: &Hints) -> &'static str {
    let has = |word: &str| ua.contains(word);
    let any = |words: &[&str]| words.iter().any(|word| has(word));
    match os {
        "Xbox" | "PlayStation" => return "Console",
        "tvOS" => return "TV",
        "watchOS" => return "Wearable",
        "iPadOS" => return "Tablet",
        _ => {}
    }
    if any(&[
        "nintendo",
        "playstation",
        "xbox",
        "ouya",
        "nvidia; shield portable",
    ]) {
        return "Console";
    }
    if any(&[
        "automotive",
        "qtcarbrowser",
        "tesla/",
        "carbrowser",
        "byd auto",
        "dilink",
    ]) || unquoted(&hints.model)
        .to_ascii_lowercase()
        .contains("automotive")
    {
        return "Car";
    }
    if let Some(class) = models::class(ua, hints) {
        return class;
    }
    if any(TELEVISIONS) || has_screen_size(ua) {
        return "TV";
    }
    if any(&["watch", "wear os", "wearos"]) {
        return "Wearable";
    }
    if has("ipad") {
        return "Tablet";
    }
    if any(&[
        "iphone",
        "ipod",
        "windows phone",
        "iemobile",
        "blackberry",
        "bb10",
        "symbian",
        "series60",
        "midp",
        "j2me",
        "kaios",
        "up.browser",
        "maui",
        "opera mini",
    ]) {
        return "Mobile";
    }
    if os == "HarmonyOS" && has("(pc;") {
        return "Desktop";
    }
    // An app's own client does not say what it runs on.
    if !ua.starts_with("mozilla/")
        && (os == "Android" && !has("android ") && !has("; adr ")
            || has("cfnetwork") && os != "macOS"
            || has("exoplayer"))
    {
        return "";
    }
    if matches!(os, "Android" | "Fire OS" | "HarmonyOS" | "Tizen") {
        if os == "Fire OS" {
            return "Tablet";
        }
        if hints.mobile == "?1" {
            return "Mobile";
        }
        if any(TABLETS) && !any(&["padfone", "stable", "taban"]) {
            return "Tablet";
        }
        if has("mobile") || has("opera mobi") || has("dalvik") {
            return "Mobile";
        }
        return if has("chrome/") || has("safari") {
            "Tablet"
        } else {
            "Mobile"
        };
    }
    if os == "iOS" || has("mobile") {
        return "Mobile";
    }
    match os {
        "Windows" | "macOS" | "Linux" | "ChromeOS" => "Desktop",
        _ => "",
    }
}

/// Whether a model begins with the inches of a television: `43LEX-8161`, `55UP50GU`.
fn has_screen_size(ua: &str) -> bool {
    let Some((_, model)) = ua
        .split_once("; ")
        .and_then(|(_, rest)| rest.split_once("; "))
    else {
        return false;
    };
    let model = model
        .strip_prefix("h")
        .or_else(|| model.strip_prefix("f"))
        .unwrap_or(model);
    let inches = model.get(..2).and_then(|inches| inches.parse::<u32>().ok());
    let next = model.get(2..4).unwrap_or_default();
    inches.is_some_and(|inches| {
        matches!(
            inches,
            22 | 24 | 28 | 32 | 39 | 40 | 42 | 43 | 48..=50 | 55 | 58 | 60 | 65 | 70 | 75 | 82 | 85
        )
    }) && next.starts_with(|c: char| c.is_ascii_lowercase())
        && !next.starts_with('x')
}
