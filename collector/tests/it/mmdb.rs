//! Writes small databases in the MaxMind format (<https://maxmind.github.io/MaxMind-DB/>), of IPv4.

use std::net::Ipv4Addr;
use std::path::Path;

/// A value of the format's data section.
pub(crate) enum Data {
    Text(&'static str),
    Short(u16),
    Number(u32),
    Long(u64),
    List(Vec<Data>),
    Map(Vec<(&'static str, Data)>),
}

use Data::{List, Long, Map, Number, Short, Text};

impl Data {
    fn write(&self, out: &mut Vec<u8>) {
        let head = |out: &mut Vec<u8>, kind: u8, size: usize| {
            assert!(size < 29, "longer sizes have another form");
            out.push(kind << 5 | size as u8);
        };
        match self {
            Text(text) => {
                head(out, 2, text.len());
                out.extend(text.as_bytes());
            }
            Short(number) => {
                head(out, 5, 2);
                out.extend(number.to_be_bytes());
            }
            Long(number) => {
                head(out, 0, 8);
                out.push(9 - 7);
                out.extend(number.to_be_bytes());
            }
            Number(number) => {
                head(out, 6, 4);
                out.extend(number.to_be_bytes());
            }
            List(items) => {
                head(out, 0, items.len());
                out.push(11 - 7);
                for item in items {
                    item.write(out);
                }
            }
            Map(entries) => {
                head(out, 7, entries.len());
                for (key, value) in entries {
                    Text(key).write(out);
                    value.write(out);
                }
            }
        }
    }
}

/// Puts a database with an entry for each network (address and bits) at `path`, as an operator does: by a rename.
pub(crate) fn write(path: &Path, entries: &[(Ipv4Addr, u32, Data)]) {
    /// A child that leads nowhere, until all nodes are known.
    const NOWHERE: usize = usize::MAX;
    let mut nodes = vec![[NOWHERE; 2]];
    let mut leaves = Vec::new();
    let mut data = Vec::new();
    for (network, bits, entry) in entries {
        let mut node = 0;
        let bit = |depth: u32| (u32::from(*network) >> (31 - depth) & 1) as usize;
        for depth in 0..bits - 1 {
            if nodes[node][bit(depth)] == NOWHERE {
                nodes.push([NOWHERE; 2]);
                nodes[node][bit(depth)] = nodes.len() - 1;
            }
            node = nodes[node][bit(depth)];
        }
        leaves.push((node, bit(bits - 1), data.len()));
        entry.write(&mut data);
    }
    let count = nodes.len();
    for child in nodes.iter_mut().flatten() {
        if *child == NOWHERE {
            *child = count;
        }
    }
    for (node, side, offset) in leaves {
        nodes[node][side] = count + 16 + offset;
    }
    let mut file: Vec<u8> = nodes
        .iter()
        .flatten()
        .flat_map(|child| (*child as u32).to_be_bytes())
        .collect();
    file.extend([0; 16]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    Map(vec![
        ("binary_format_major_version", Short(2)),
        ("binary_format_minor_version", Short(0)),
        ("build_epoch", Long(1)),
        ("database_type", Text("Test")),
        ("description", Map(Vec::new())),
        ("ip_version", Short(4)),
        ("languages", List(Vec::new())),
        ("node_count", Number(count as u32)),
        ("record_size", Short(32)),
    ])
    .write(&mut file);
    let new = path.with_extension("new");
    std::fs::write(&new, file).unwrap();
    maxminddb::Reader::open_readfile(&new).expect("it is written as the format says");
    std::fs::rename(new, path).unwrap();
}
