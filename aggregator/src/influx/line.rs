//! InfluxDB's line protocol, for points with integer and text fields.
//!
//! <https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/>: names, tag keys and tag values escape
//! comma, space, and, but for names, `=` by a backslash; texts in quotes escape quote and backslash. A newline is
//! allowed in texts only; elsewhere it would end the line, and a backslash at the end of a name or tag would escape what
//! follows it. No escape says these, so both are replaced there.

use std::fmt::Write as _;

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    /// 64 bits, signed.
    Int(i64),
    /// Any text up to 64 KiB.
    Text(String),
}

/// Longest text, in bytes; InfluxDB takes 64 KiB.
const MAX_TEXT: usize = 60_000;

/// Name and tags of a point, as they begin its line. Empty tags are left out: the protocol has none.
pub(crate) fn series(measurement: &str, tags: &[(&str, &str)]) -> String {
    let mut line = String::new();
    escape(&mut line, measurement, ", ");
    for (key, value) in tags.iter().filter(|(_, value)| !value.is_empty()) {
        line.push(',');
        escape(&mut line, key, ",= ");
        line.push('=');
        escape(&mut line, value, ",= ");
    }
    line
}

/// A line with its newline: `fields`, of which there is one at least, at `seconds` since 1970-01-01 UTC.
pub(crate) fn line<'a>(
    out: &mut String,
    series: &str,
    fields: impl Iterator<Item = (&'a str, &'a Value)>,
    seconds: i64,
) {
    out.push_str(series);
    let mut separator = ' ';
    for (name, value) in fields {
        out.push(separator);
        separator = ',';
        escape(out, name, ",= ");
        out.push('=');
        match value {
            Value::Int(number) => {
                let _ = write!(out, "{number}i"); // writing to a string does not fail
            }
            Value::Text(text) => quote(out, text),
        }
    }
    let _ = writeln!(out, " {seconds}");
}

fn escape(out: &mut String, text: &str, special: &str) {
    for char in text.chars() {
        let char = match char {
            '\n' | '\r' => ' ',
            '\\' => '/',
            char => char,
        };
        if special.contains(char) {
            out.push('\\');
        }
        out.push(char);
    }
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    let text = text.char_indices();
    for (_, char) in text.take_while(|(at, _)| *at < MAX_TEXT) {
        if matches!(char, '"' | '\\') {
            out.push('\\');
        }
        out.push(char);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use influxdb_line_protocol::{FieldValue, parse_lines};
    use proptest::prelude::*;

    use super::{Value, line, series};

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<i64>().prop_map(Value::Int),
            prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(-1)].prop_map(Value::Int),
            text().prop_map(Value::Text),
        ]
    }

    /// With everything that means something to the protocol.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![any::<String>(), "[a ,=\"\\\\\n\r#ü\u{1f980}]{0,12}"]
    }

    fn name() -> impl Strategy<Value = String> {
        text().prop_map(|text| format!("n{text}"))
    }

    /// What stands in a name or tag for `text`.
    fn cleaned(text: &str) -> String {
        text.replace(['\n', '\r'], " ").replace('\\', "/")
    }

    proptest! {
        #[test]
        fn another_parser_reads_what_was_written(
            points in prop::collection::vec(
                (name(), prop::collection::btree_map(name(), name(), 0..3),
                 prop::collection::btree_map(name(), value(), 1..4), any::<i64>()),
                1..4,
            ),
        ) {
            let mut lines = String::new();
            let mut expected = Vec::new();
            for (measurement, tags, fields, at) in &points {
                let pairs: Vec<_> = tags.iter().map(|(key, value)| (&**key, &**value)).collect();
                let fields_of = fields.iter().map(|(name, value)| (&**name, value));
                line(&mut lines, &series(measurement, &pairs), fields_of, *at);
                let tags: BTreeMap<_, _> =
                    tags.iter().map(|(key, value)| (cleaned(key), cleaned(value))).collect();
                // Names that differ only in what can't be written are one.
                prop_assume!(tags.len() == pairs.len());
                let fields: Vec<_> =
                    fields.iter().map(|(name, value)| (cleaned(name), value.clone())).collect();
                expected.push((cleaned(measurement), tags, fields, *at));
            }
            let mut read = Vec::new();
            for parsed in parse_lines(&lines) {
                let parsed = parsed.map_err(|error| TestCaseError::fail(format!("{error}: {lines:?}")))?;
                let tags = parsed.series.tag_set.iter().flatten();
                let fields = parsed.field_set.iter().map(|(name, value)| {
                    let value = match value {
                        FieldValue::I64(number) => Value::Int(*number),
                        FieldValue::String(text) => Value::Text(text.to_string()),
                        other => panic!("{other:?}"),
                    };
                    (name.to_string(), value)
                });
                read.push((
                    parsed.series.measurement.to_string(),
                    tags.map(|(key, value)| (key.to_string(), value.to_string())).collect(),
                    fields.collect(),
                    parsed.timestamp.unwrap(),
                ));
            }
            prop_assert_eq!(read, expected);
        }
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_between_characters() {
        let mut out = String::new();
        let long = Value::Text("ü".repeat(60_000));
        line(&mut out, "m", [("f", &long)].into_iter(), 0);
        assert!(out.len() < 61_000);
        assert!(parse_lines(&out).all(|line| line.is_ok()));
    }
}
