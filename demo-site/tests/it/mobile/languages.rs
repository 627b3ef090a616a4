//! Kotlin, Swift and Python have the same calls, which say the same of themselves. Swift has no compiler everywhere, so
//! what its sources call is compared with what is generated.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use wakeline_bindings::Language;
use wakeline_testbed::mobile_sdk;

use super::bindings;

/// The first sentence that stands over, or in, each call, by the call's name in camel case.
type Sentences = BTreeMap<String, String>;

fn first_sentence(text: &str) -> String {
    let end = text.find(". ").map_or(text.len(), |end| end + 1);
    text[..end].trim().to_owned()
}

/// Of sources in which a comment stands over its call: the lines of comments begin with `marks`, the calls with one of `calls`.
fn commented(source: &str, marks: &[&str], calls: &[&str]) -> Sentences {
    let mut sentences = Sentences::new();
    let mut comment = String::new();
    for line in source.lines().map(str::trim) {
        let call = calls.iter().find_map(|call| line.split_once(call));
        if let Some((_, call)) = call {
            // A type parameter comes before a name in Kotlin.
            let call = call.strip_prefix("<T> ").unwrap_or(call);
            let end = call.find(['(', '<']).unwrap_or(call.len());
            if !comment.is_empty() {
                sentences.insert(call[..end].to_owned(), first_sentence(&comment));
            }
            comment.clear();
        } else if let Some(text) = marks.iter().find_map(|mark| line.strip_prefix(mark)) {
            let text = text.trim_end_matches("*/").trim();
            // After an empty line comes more than the sentence.
            if comment.is_empty() || !text.is_empty() && !comment.ends_with(". ") {
                comment.push_str(text);
                comment.push(' ');
            }
        } else if !line.starts_with('@') {
            comment.clear();
        }
    }
    sentences
}

fn kotlin(sdk: &Path) -> anyhow::Result<Sentences> {
    let source = sdk.join("kotlin/wakeline/src/main/kotlin/wakeline/Wakeline.kt");
    let source = fs::read_to_string(source)?;
    let calls = [
        "public fun ",
        "public inline fun ",
        "public suspend fun ",
        "override fun ",
    ];
    Ok(commented(&source, &["/**", "*/", "*"], &calls))
}

fn swift(sdk: &Path) -> anyhow::Result<Sentences> {
    let source = sdk.join("swift/Sources/Wakeline/Wakeline.swift");
    let source = fs::read_to_string(source)?;
    Ok(commented(
        &source,
        &["///"],
        &["public func ", "public static func "],
    ))
}

/// Of Python, whose comments stand in their calls.
fn python(sdk: &Path) -> anyhow::Result<Sentences> {
    let source = fs::read_to_string(sdk.join("python/src/wakeline/_client.py"))?;
    let mut sentences = Sentences::new();
    let mut call = None;
    for line in source.lines().map(str::trim) {
        if let Some(def) = line.strip_prefix("def ") {
            let name = def.split('(').next().unwrap_or_default();
            call = (!name.starts_with('_')).then(|| camel(name));
        } else if let Some(text) = line.strip_prefix("\"\"\"")
            && let Some(call) = call.take()
        {
            let text = text.trim_end_matches("\"\"\"");
            sentences.insert(call, first_sentence(text));
        }
    }
    Ok(sentences)
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut name, word| {
        let (head, tail) = word.split_at(1);
        name.push_str(&head.to_uppercase());
        name.push_str(tail);
        name
    })
}

#[test]
fn every_language_has_the_same_calls_and_says_the_same_of_them() -> anyhow::Result<()> {
    let sdk = mobile_sdk()?;
    let kotlin = kotlin(&sdk)?;
    assert!(kotlin.len() > 25, "{kotlin:#?}");
    assert_eq!(kotlin, swift(&sdk)?, "Kotlin and Swift");
    assert_eq!(kotlin, python(&sdk)?, "Kotlin and Python");
    Ok(())
}

/// What apps' code can see of generated Swift, a line each, without bodies and comments.
fn signatures(source: &str) -> BTreeSet<String> {
    let wanted = [
        "case ",
        "open func ",
        "public enum ",
        "public func version",
        "public static func `open`",
        "public struct ",
        "public var ",
    ];
    let mut signatures = BTreeSet::new();
    // A comment over a field ends on the field's line.
    let code = |line: &str| {
        let line = line.rsplit("*/").next().unwrap_or_default().trim();
        (!line.starts_with("/*") && !line.starts_with('*')).then(|| line.to_owned())
    };
    let mut lines = source.lines().map(str::trim).filter_map(code);
    while let Some(line) = lines.next() {
        let mut whole = line.split('{').next().unwrap_or_default().to_owned();
        let inside = ["case .", "case let", "return", "niffi", "FfiConverter"];
        let wanted = wanted.iter().any(|wanted| whole.starts_with(wanted));
        if !wanted || inside.iter().any(|inside| whole.contains(inside)) || whole.ends_with(':') {
            continue;
        }
        while whole.contains('(') && !whole.contains(')') {
            whole.push_str(&lines.next().unwrap_or_else(|| ")".to_owned()));
        }
        let words: Vec<&str> = whole.split_whitespace().collect();
        signatures.insert(words.join(" ").replace('`', ""));
    }
    signatures
}

fn generated_swift() -> anyhow::Result<String> {
    let out = bindings(Language::Swift)?;
    fs::read_to_string(out.path().join("WakelineCore.swift")).context("WakelineCore.swift")
}

/// `WAKELINE_GOLDEN=write` writes the golden file anew.
#[test]
fn generated_swift_is_as_the_golden_file_has_it() -> anyhow::Result<()> {
    let golden = mobile_sdk()?.join("swift/Tests/WakelineCore.golden");
    let generated: Vec<String> = signatures(&generated_swift()?).into_iter().collect();
    let generated = generated.join("\n") + "\n";
    if std::env::var_os("WAKELINE_GOLDEN").is_some_and(|value| value == "write") {
        fs::write(&golden, &generated)?;
    }
    assert_eq!(
        fs::read_to_string(&golden)?,
        generated,
        "{}",
        golden.display()
    );
    Ok(())
}

#[test]
fn swift_calls_only_what_is_generated() -> anyhow::Result<()> {
    let signatures = signatures(&generated_swift()?);
    let known: BTreeSet<String> = signatures
        .iter()
        .filter_map(|line| labels(line.split_once("func ")?.1))
        .collect();
    let mut calls = 0;
    for path in swift_sources(&mobile_sdk()?.join("swift/Sources"))? {
        let source = fs::read_to_string(&path)?;
        for call in ["core.", "Core."]
            .iter()
            .flat_map(|at| source.split(at).skip(1))
        {
            let Some(call) = labels(call) else { continue };
            ensure!(
                known.contains(&call),
                "{}: {call} is not among {known:#?}",
                path.display()
            );
            calls += 1;
        }
    }
    ensure!(calls > 15, "only {calls} calls found");
    Ok(())
}

fn swift_sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources.extend(swift_sources(&path)?);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "swift")
        {
            sources.push(path);
        }
    }
    Ok(sources)
}

/// `name(label:label:)` of a call or a declaration; `None` if the text begins with neither.
fn labels(text: &str) -> Option<String> {
    let open = text.find(|mark: char| !mark.is_alphanumeric() && mark != '_')?;
    let rest = text[open..].strip_prefix('(')?;
    let (mut depth, mut quoted) = (0, false);
    let mut labels = vec![String::new()];
    let mut labelled = false;
    for mark in rest.chars() {
        match mark {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => {
                let mut named = String::new();
                for label in labels.iter().filter(|label| !label.is_empty()) {
                    named.push_str(label.trim());
                    named.push(':');
                }
                return Some(format!("{}({named})", &text[..open]));
            }
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                labels.push(String::new());
                labelled = false;
            }
            ':' if depth == 0 => labelled = true,
            _ if depth == 0 && !labelled => labels.last_mut()?.push(mark),
            _ => {}
        }
    }
    None
}
