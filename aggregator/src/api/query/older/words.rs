//! Periods and filters of the older form, as questions say them.

use jiff::{ToSpan as _, civil::Date};
use serde_json::{Value, json};

use super::OlderQuery;

/// The period in the form of a question.
pub(super) fn date_range(asked: &OlderQuery) -> Result<Value, String> {
    let period = asked.period.as_deref().unwrap_or("30d");
    let date = |text: &str| -> Result<Date, String> {
        text.parse()
            .map_err(|_| format!("date: {text:?} is none, such as 2026-11-21"))
    };
    let Some(given) = asked.date.as_deref() else {
        return match period {
            "custom" => {
                Err("date: give two with a comma, such as 2026-11-01,2026-11-21".to_owned())
            }
            period => Ok(json!(period)),
        };
    };
    if period == "custom" {
        let (first, last) = given.split_once(',').unwrap_or((given, given));
        return Ok(json!([date(first)?.to_string(), date(last)?.to_string()]));
    }
    let day = date(given)?;
    let days = |count: i32| {
        (
            day.saturating_sub(count.days()),
            day.saturating_sub(1.day()),
        )
    };
    let month = day.first_of_month();
    let months = |count: i32| {
        (
            month.saturating_sub(count.months()),
            month.saturating_sub(1.day()),
        )
    };
    let (first, last) = match period {
        "day" => (day, day),
        "7d" => days(7),
        "28d" => days(28),
        "30d" => days(30),
        "91d" => days(91),
        "month" => (month, month.last_of_month()),
        "6mo" => months(6),
        "12mo" => months(12),
        "year" => (day.first_of_year(), day.last_of_year()),
        other => {
            return Err(format!(
                "period: {other:?} is none: 12mo, 6mo, month, 30d, 7d, day or custom"
            ));
        }
    };
    Ok(json!([first.to_string(), last.to_string()]))
}

/// The filters in the form of a question.
pub(super) fn filters(text: &str) -> Result<Vec<Value>, String> {
    let filters = split(text, ';').into_iter();
    filters
        .filter(|filter| !filter.is_empty())
        .map(|filter| one_filter(&filter))
        .collect()
}

fn one_filter(filter: &str) -> Result<Value, String> {
    let operators = [
        ("!=", "is_not"),
        ("==", "is"),
        ("!~", "contains_not"),
        ("~", "contains"),
    ];
    let found = operators
        .iter()
        .filter_map(|(sign, name)| Some((filter.find(sign)?, *sign, *name)));
    // The first one in the text; of two at one place the longer.
    let first = found.min_by_key(|(at, sign, _)| (*at, usize::MAX - sign.len()));
    let (at, sign, operator) = first.ok_or_else(|| {
        format!("filters: {filter:?} has no operator: dimension==value, !=, ~ or !~")
    })?;
    let (dimension, values) = (filter[..at].trim(), &filter[at + sign.len()..]);
    let values: Vec<String> = split(values, '|')
        .iter()
        .map(|value| value.replace('\\', ""))
        .collect();
    let wild = operator.starts_with("is") && values.iter().any(|value| value.contains('*'));
    if wild && dimension != "event:goal" {
        let operator = if operator == "is" {
            "matches"
        } else {
            "matches_not"
        };
        let values: Vec<String> = values.iter().map(|value| wildcard(value)).collect();
        return Ok(json!([operator, dimension, values]));
    }
    Ok(match operator {
        "is_not" if dimension == "event:goal" => json!(["not", ["is", dimension, values]]),
        "contains_not" if dimension == "event:goal" => {
            json!(["not", ["contains", dimension, values]])
        }
        operator => json!([operator, dimension, values]),
    })
}

/// Splits where the sign stands without a backslash before it.
fn split(text: &str, sign: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for letter in text.chars() {
        if letter == sign && !escaped {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
        escaped = letter == '\\' && !escaped;
    }
    parts
}

fn wildcard(pattern: &str) -> String {
    let parts = pattern.split("**").map(|part| {
        let parts: Vec<String> = part.split('*').map(escape).collect();
        parts.join("[^/]*")
    });
    format!("^{}$", parts.collect::<Vec<_>>().join(".*"))
}

/// A text as a regular expression of itself.
fn escape(text: &str) -> String {
    let special = |letter: char| letter.is_ascii_punctuation();
    let letters = text.chars().flat_map(|letter| {
        let backslash = special(letter).then_some('\\');
        backslash.into_iter().chain([letter])
    });
    letters.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{super::OlderQuery, date_range, filters};

    #[test]
    fn older_filters_become_newer_ones() {
        let check = |text: &str, expected: Value| {
            assert_eq!(json!(filters(text).unwrap()), expected, "{text}");
        };
        check("", json!([]));
        check(
            "visit:browser==Firefox;visit:country==FR",
            json!([
                ["is", "visit:browser", ["Firefox"]],
                ["is", "visit:country", ["FR"]]
            ]),
        );
        check(
            "event:page==/a|/b",
            json!([["is", "event:page", ["/a", "/b"]]]),
        );
        check(
            "event:page!=/a\\|b",
            json!([["is_not", "event:page", ["/a|b"]]]),
        );
        check(
            "visit:source~oo|ahoo",
            json!([["contains", "visit:source", ["oo", "ahoo"]]]),
        );
        check(
            "visit:source!~oo",
            json!([["contains_not", "visit:source", ["oo"]]]),
        );
        check(
            "event:page==/blog/*/a.b**",
            json!([["matches", "event:page", ["^\\/blog\\/[^/]*\\/a\\.b.*$"]]]),
        );
        check(
            "event:goal!=Signup",
            json!([["not", ["is", "event:goal", ["Signup"]]]]),
        );
        check(
            "event:props:a==b=c",
            json!([["is", "event:props:a", ["b=c"]]]),
        );
        assert!(filters("visit:browser").unwrap_err().contains("operator"));
    }

    #[test]
    fn older_periods_become_ranges() {
        let check = |period: Option<&str>, date: Option<&str>, expected: Value| {
            let asked = OlderQuery {
                period: period.map(str::to_owned),
                date: date.map(str::to_owned),
                ..OlderQuery::default()
            };
            assert_eq!(date_range(&asked).unwrap(), expected);
        };
        check(None, None, json!("30d"));
        check(Some("12mo"), None, json!("12mo"));
        check(
            Some("7d"),
            Some("2026-11-21"),
            json!(["2026-11-14", "2026-11-20"]),
        );
        check(
            Some("6mo"),
            Some("2026-11-21"),
            json!(["2026-05-01", "2026-10-31"]),
        );
        check(
            Some("month"),
            Some("2026-02-03"),
            json!(["2026-02-01", "2026-02-28"]),
        );
        check(
            Some("custom"),
            Some("2026-11-01,2026-11-02"),
            json!(["2026-11-01", "2026-11-02"]),
        );
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_understood_but_never_panics(text in ".{0,60}", date in ".{0,24}", period in ".{0,6}") {
            let _ = filters(&text);
            for period in [period.as_str(), "custom", "6mo"] {
                let _ = date_range(&OlderQuery { period: Some(period.to_owned()), date: Some(date.clone()), ..OlderQuery::default() });
            }
        }
    }
}
