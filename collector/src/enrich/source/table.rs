//! Sources by host and by tag: `sources.txt`.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Kinds of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Search,
    Social,
    Video,
    Mail,
    Shopping,
    Assistant,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) kind: Kind,
    pub(super) name: &'static str,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    /// By host.
    hosts: HashMap<&'static str, Source>,
    /// By the label before a country's ending.
    anywhere: HashMap<&'static str, Source>,
    /// By what links are tagged with.
    tags: HashMap<&'static str, Source>,
}

pub(super) static TABLE: LazyLock<Table> = LazyLock::new(|| table(include_str!("../sources.txt")));

fn table(text: &'static str) -> Table {
    let mut table = Table::default();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut columns = line.split('|').map(str::trim);
        let (Some(kind), Some(name), Some(hosts)) =
            (columns.next(), columns.next(), columns.next())
        else {
            continue;
        };
        let kind = match kind {
            "search" => Kind::Search,
            "social" => Kind::Social,
            "video" => Kind::Video,
            "mail" => Kind::Mail,
            "shopping" => Kind::Shopping,
            _ => Kind::Assistant,
        };
        let source = Source { kind, name };
        for host in hosts.split_whitespace() {
            match host.strip_suffix(".*") {
                Some(label) => table.anywhere.insert(label, source),
                None => table.hosts.insert(host, source),
            };
        }
        for tag in columns
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|mark| mark.strip_prefix('='))
        {
            table.tags.insert(tag, source);
        }
    }
    table
}

impl Table {
    /// The source that links are tagged with as `tag`, in lower case.
    pub(super) fn of_tag(&self, tag: &str) -> Option<Source> {
        let tagged = self.tags.get(tag).copied();
        tagged.or_else(|| self.of_host(tag))
    }

    /// The source at `host` or above it.
    pub(super) fn of_host(&self, host: &str) -> Option<Source> {
        let mut rest = host;
        loop {
            if let Some(source) = self.hosts.get(rest).or_else(|| self.of_label(rest)) {
                return Some(*source);
            }
            (_, rest) = rest.split_once('.')?;
        }
    }

    /// `google.co.uk` by `google.*`.
    fn of_label(&self, host: &str) -> Option<&Source> {
        let mut ending = host.len();
        for _ in 0..2 {
            ending = host[..ending].rfind('.')?;
            let short = host[ending + 1..]
                .split('.')
                .all(|label| (2..=3).contains(&label.len()));
            if let Some(source) = self.anywhere.get(&host[..ending]).filter(|_| short) {
                return Some(source);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn the_table_has_hundreds_of_search_engines_with_their_parameters_and_names_no_host_twice() {
        let text = include_str!("../sources.txt");
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let engine = |line: &&&str| line.starts_with("search |") && line.contains('?');
        let engines = lines.iter().filter(engine).count();
        assert!(engines >= 300, "{engines}");
        let mut seen = HashSet::new();
        for line in &lines {
            let columns: Vec<_> = line.split('|').map(str::trim).collect();
            assert!((3..=4).contains(&columns.len()), "{line}");
            assert!(
                ["search", "social", "video", "mail", "shopping", "ai"].contains(&columns[0]),
                "{line}"
            );
            for host in columns[2].split_whitespace() {
                assert!(host.contains('.') && seen.insert(host), "{line}: {host}");
            }
        }
    }
}
