//! What goes wrong in a simulation, and when.

use std::fmt;

use wakeline_aggregator::influx::model::ModelTrouble;

use crate::nodes::AGGREGATOR;
use crate::{disk, store};

/// A fault of one host, a link or the store.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The program is killed, or the power lost, and comes back.
    Kill {
        host: String,
        power: bool,
        /// While it is down, a bit of its segments flips.
        flip: bool,
        down_ms: u64,
    },
    /// Nothing arrives at the one from the other, nor back.
    Partition { a: String, b: String, for_ms: u64 },
    /// Nothing arrives at the one from the other.
    OneWay {
        from: String,
        to: String,
        for_ms: u64,
    },
    /// What is on its way waits.
    Hold { a: String, b: String, for_ms: u64 },
    /// A disk fails or is full.
    Disk {
        host: String,
        trouble: disk::Trouble,
        for_ms: u64,
    },
    /// The wall clock of a host is set.
    Clock { host: String, skew_ms: i64 },
    /// The store misbehaves.
    Store {
        trouble: store::Trouble,
        for_ms: u64,
    },
    /// The store forgets.
    FallBack,
    /// InfluxDB misbehaves.
    Influx { trouble: ModelTrouble, for_ms: u64 },
}

/// All faults, by the ms at which they begin.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) faults: Vec<(u64, Fault)>,
    /// By then all is well again.
    pub(crate) end_ms: u64,
}

impl Schedule {
    /// Draws faults. `collectors` and `clients` are the names of hosts.
    pub(crate) fn draw(
        random: &mut fastrand::Rng,
        collectors: &[String],
        clients: &[String],
        end_ms: u64,
    ) -> Self {
        let flips = random.f32() < 0.15;
        let count = random.usize(1..9);
        let mut faults: Vec<(u64, Fault)> = (0..count)
            .map(|_| {
                let at = random.u64(..end_ms * 4 / 5);
                (at, draw(random, collectors, clients, flips))
            })
            .collect();
        faults.sort_by_key(|(at, _)| *at);
        Self { faults, end_ms }
    }
}

fn draw(
    random: &mut fastrand::Rng,
    collectors: &[String],
    clients: &[String],
    flips: bool,
) -> Fault {
    let for_ms = random.u64(100..8_000);
    let collector = collectors[random.usize(..collectors.len())].clone();
    let host = if random.bool() {
        collector.clone()
    } else {
        AGGREGATOR.to_owned()
    };
    let (a, b) = if random.f32() < 0.7 {
        (collector, AGGREGATOR.to_owned())
    } else {
        (clients[random.usize(..clients.len())].clone(), collector)
    };
    match random.u32(..16) {
        0..5 => Fault::Kill {
            host,
            power: random.f32() < 0.7,
            flip: flips && random.bool(),
            down_ms: random.u64(..4_000),
        },
        5 => Fault::Partition { a, b, for_ms },
        6 if random.bool() => Fault::OneWay {
            from: a,
            to: b,
            for_ms,
        },
        6 => Fault::OneWay {
            from: b,
            to: a,
            for_ms,
        },
        7 => Fault::Hold { a, b, for_ms },
        8..10 => Fault::Disk {
            host,
            trouble: disk::Trouble {
                sync: [0.0, 0.3, 1.0][random.usize(..3)],
                full: [0.0, 0.3, 1.0][random.usize(..3)],
            },
            for_ms,
        },
        10 => Fault::Clock {
            host,
            skew_ms: random.i64(-7_200_000..7_200_000),
        },
        11..13 => Fault::Store {
            trouble: store::Trouble {
                refuse: [0.0, 0.3, 1.0][random.usize(..3)],
                deny: random.f32() / 2.0,
                late: random.f32() / 2.0,
                slow_ms: random.u64(..1_500),
            },
            for_ms,
        },
        13 => Fault::FallBack,
        _ => Fault::Influx {
            trouble: ModelTrouble {
                busy: [0.0, 0.3, 1.0][random.usize(..3)],
                lose: random.f32() / 3.0,
                silent: random.f32() / 3.0,
                repeat: random.f32() / 2.0,
                partial: [0.0, 0.0, 0.3][random.usize(..3)],
                slow_ms: random.u64(..1_500),
            },
            for_ms,
        },
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in &self.faults {
            writeln!(f, "  {at:>6} ms  {fault:?}")?;
        }
        Ok(())
    }
}
