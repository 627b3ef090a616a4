//! Answers for people: lists as tables, the rest as names and values.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Names that come first; JSON objects know no order.
const ORDER: [&str; 14] = [
    "id",
    "site_id",
    "site",
    "domain",
    "key",
    "kind",
    "time",
    "received",
    "accepted",
    "counted",
    "duplicate",
    "late",
    "received_at",
    "reason",
];

fn in_order(answer: &Map<String, Value>) -> Vec<&String> {
    let mut names: Vec<_> = answer.keys().collect();
    names.sort_by_key(|name| {
        ORDER
            .iter()
            .position(|first| first == name)
            .unwrap_or(ORDER.len())
    });
    names
}

/// The answer as lines.
pub(super) fn render(answer: &Value) -> String {
    let Value::Object(answer) = answer else {
        return format!("{}\n", cell("", answer));
    };
    if answer.len() == 1 {
        for (name, value) in answer {
            if let Value::Array(rows) = value {
                return list(name, rows);
            }
        }
    }
    let mut text = String::new();
    let mut rest = answer.clone();
    for name in ["lines", "letters", "results"] {
        if let Some(Value::Array(rows)) = rest.remove(name) {
            text.push_str(&list(name, &rows));
            text.push('\n');
        }
    }
    text.push_str(&pairs(&rest));
    for note in notes(answer) {
        text.push_str(note);
        text.push('\n');
    }
    text
}

/// What the keys just made are for.
fn notes(answer: &Map<String, Value>) -> Vec<&'static str> {
    let kind = answer.get("kind").and_then(Value::as_str);
    let write = answer.contains_key("write_key") || kind == Some("write");
    let server = answer.contains_key("server_key") || kind == Some("server");
    let mut notes = Vec::new();
    if write {
        notes.push(
            "The write key is for pages and apps: data-key of the script's tag. Whoever sees a page sees it; it can only send.",
        );
    }
    if server {
        notes.push("The server key is for your servers: Authorization: Bearer. Keep it secret.");
    }
    notes
}

fn pairs(answer: &Map<String, Value>) -> String {
    let width = answer.keys().map(String::len).max().unwrap_or(0);
    in_order(answer)
        .into_iter()
        .fold(String::new(), |mut text, name| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name:width$}  {}", cell(name, &answer[name]));
            text
        })
}

fn list(name: &str, rows: &[Value]) -> String {
    let Some(Value::Object(first)) = rows.first() else {
        return format!("no {name}\n");
    };
    let names = in_order(first);
    let mut lines = vec![
        names
            .iter()
            .map(|name| name.replace('_', " ").to_uppercase())
            .collect::<Vec<_>>(),
    ];
    lines.extend(rows.iter().map(|row| {
        names
            .iter()
            .map(|name| cell(name, &row[name.as_str()]))
            .collect()
    }));
    let widths: Vec<usize> = (0..names.len())
        .map(|column| {
            lines
                .iter()
                .map(|line| line[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    lines.iter().fold(String::new(), |mut text, line| {
        let cells = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
        text
    })
}

fn cell(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if name.ends_with("_at") => time(number.as_i64()),
        Value::Null => "–".to_owned(),
        Value::Object(parts) if name != "payload" && parts.values().all(Value::is_number) => {
            let parts = parts.iter().map(|(name, value)| format!("{name} {value}"));
            let parts: Vec<_> = parts.collect();
            if parts.is_empty() {
                "–".to_owned()
            } else {
                parts.join(", ")
            }
        }
        other => other.to_string(),
    }
}

fn time(ms: Option<i64>) -> String {
    let second = ms.map(|ms| jiff::Timestamp::from_second(ms.div_euclid(1000)));
    second
        .and_then(Result::ok)
        .map_or_else(String::new, |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::render;

    #[test]
    fn a_list_is_a_table() {
        let sites = json!({"sites": [
            {"id": 1, "domain": "a.example", "created_at": 1_795_178_096_123_i64},
            {"id": 20, "domain": "bb.example", "created_at": 0},
        ]});
        assert_eq!(
            render(&sites),
            "ID  DOMAIN      CREATED AT\n\
             1   a.example   2026-11-20T12:34:56Z\n\
             20  bb.example  1970-01-01T00:00:00Z\n"
        );
        assert_eq!(render(&json!({"sites": []})), "no sites\n");
    }

    #[test]
    fn one_thing_is_names_and_values() {
        let made = json!({"currency": "EUR", "site_id": 1});
        assert_eq!(render(&made), "site_id   1\ncurrency  EUR\n");
    }

    #[test]
    fn a_report_is_its_lines_and_then_what_it_says_of_them() {
        let report = json!({
            "lines": [{"time": "2026-11-21T10:00:00Z", "received": 5, "rejected": {"bot": 1, "too_old": 2}, "accepted": 2}],
            "site": "shop.example",
        });
        let shown = render(&report);
        let lines: Vec<_> = shown.lines().collect();
        assert!(lines[0].starts_with("TIME"), "{shown}");
        assert!(lines[1].ends_with("bot 1, too_old 2"), "{shown}");
        assert_eq!(lines[3], "site  shop.example", "{shown}");
    }

    #[test]
    fn of_a_new_key_it_is_said_what_it_is_for() {
        let site = render(&json!({"site_id": 1, "write_key": "wk_x", "server_key": "sk_x"}));
        assert!(site.contains("write key is for pages"), "{site}");
        assert!(site.contains("server key is for your servers"), "{site}");
        let key = render(&json!({"key": "sk_x", "kind": "server", "site": 1}));
        assert!(!key.contains("write key"), "{key}");
        assert!(key.contains("Keep it secret"), "{key}");
    }
}
