//! A Redis cluster of three primaries, each with a replica.

use std::{net::TcpListener, time::Duration};

use anyhow::Context as _;

use crate::{Redis, eventually};

const SLOTS: u32 = 16_384;
const PRIMARIES: usize = 3;
const LIMIT: Duration = Duration::from_secs(60);

/// Six servers on loopback; their files go with them.
pub struct RedisCluster {
    /// The primaries, then a replica of each, in the same order.
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts the servers and divides the slots among them.
    ///
    /// # Errors
    /// If they do not start, or do not find each other.
    pub async fn start() -> anyhow::Result<Self> {
        let mut nodes = Vec::new();
        for _ in 0..2 * PRIMARIES {
            let bus = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            nodes.push(Redis::start(&[
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "1500",
                "--cluster-port",
                &bus.to_string(),
                "--repl-ping-replica-period",
                "1",
            ])?);
        }
        let cluster = Self { nodes };
        let first = &cluster.nodes[0];
        let bus = |node: &Redis| -> anyhow::Result<String> {
            let answer = node.command("CONFIG GET cluster-port")?;
            let port = answer.lines().rfind(|line| line.parse::<u16>().is_ok());
            Ok(port.context("no cluster-port")?.to_owned())
        };
        let meet = format!("{} {}", first.address().port(), bus(first)?);
        for (number, node) in (0_u32..).zip(&cluster.nodes) {
            if number > 0 {
                node.command(&format!("CLUSTER MEET 127.0.0.1 {meet}"))?;
            }
            if (number as usize) < PRIMARIES {
                let share = |number| SLOTS * number / PRIMARIES as u32;
                let (from, to) = (share(number), share(number + 1) - 1);
                node.command(&format!("CLUSTER ADDSLOTSRANGE {from} {to}"))?;
            }
        }
        for (primary, replica) in cluster.nodes.iter().zip(&cluster.nodes[PRIMARIES..]) {
            let id = id(primary)?;
            eventually("the servers know each other", LIMIT, || async {
                Ok(replica
                    .command(&format!("CLUSTER REPLICATE {id}"))
                    .ok()
                    .map(drop))
            })
            .await?;
        }
        eventually("the cluster works", LIMIT, || async {
            for node in &cluster.nodes {
                let info = node.command("CLUSTER INFO")?;
                let knows_all = info.contains("cluster_known_nodes:6");
                if !info.contains("cluster_state:ok") || !knows_all {
                    return Ok(None);
                }
            }
            for replica in &cluster.nodes[PRIMARIES..] {
                if !replica.command("INFO")?.contains("master_link_status:up") {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await?;
        Ok(cluster)
    }

    /// `redis+cluster://` with two of the servers: a client has to find the others.
    pub fn url(&self) -> String {
        let [one, two] = [&self.nodes[0], &self.nodes[1]].map(Redis::address);
        format!("redis+cluster://{one},{two}")
    }

    /// `kill -9` of the primary that has a key's slot; returns when a replica has taken over.
    ///
    /// # Errors
    /// If none does.
    pub async fn fail_over(&mut self, key: &str) -> anyhow::Result<()> {
        let at = self.primary_of(key)?;
        self.nodes[at].kill()?;
        let replica = &self.nodes[PRIMARIES + at];
        eventually("a replica takes over", LIMIT, || async {
            let is_primary = replica.command("INFO")?.contains("role:master");
            let works = replica
                .command("CLUSTER INFO")?
                .contains("cluster_state:ok");
            Ok((is_primary && works).then_some(()))
        })
        .await
    }

    /// Moves a key's slot to another primary, `during` being called when half of it is done: some keys are here, others
    /// there.
    ///
    /// # Errors
    /// If a server refuses, or `during` does.
    pub async fn move_slot<T>(
        &self,
        key: &str,
        during: impl Future<Output = T>,
    ) -> anyhow::Result<T> {
        let slot = self.slot(key)?;
        let at = self.primary_of(key)?;
        let (from, to) = (&self.nodes[at], &self.nodes[(at + 1) % PRIMARIES]);
        let (from_id, to_id) = (id(from)?, id(to)?);
        to.command(&format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}"))?;
        from.command(&format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}"))?;
        let keys = from.command(&format!("CLUSTER GETKEYSINSLOT {slot} 10000"))?;
        let keys: Vec<&str> = keys.lines().filter(|line| line.starts_with('{')).collect();
        let port = to.address().port();
        let migrate = |keys: &[&str]| -> anyhow::Result<()> {
            for key in keys {
                from.command(&format!("MIGRATE 127.0.0.1 {port} {key} 0 5000"))?;
            }
            Ok(())
        };
        let (first, rest) = keys.split_at(keys.len() / 2);
        migrate(first)?;
        let done = during.await;
        migrate(rest)?;
        // What was written meanwhile.
        let new = from.command(&format!("CLUSTER GETKEYSINSLOT {slot} 10000"))?;
        let new: Vec<&str> = new.lines().filter(|line| line.starts_with('{')).collect();
        migrate(&new)?;
        for node in [to, from] {
            node.command(&format!("CLUSTER SETSLOT {slot} NODE {to_id}"))?;
        }
        Ok(done)
    }

    /// Sends a command to every server.
    ///
    /// # Errors
    /// If one refuses it.
    pub fn command_all(&self, line: &str) -> anyhow::Result<()> {
        self.nodes
            .iter()
            .try_for_each(|node| node.command(line).map(drop))
    }

    fn slot(&self, key: &str) -> anyhow::Result<u32> {
        let answer = self.nodes[0].command(&format!("CLUSTER KEYSLOT {key}"))?;
        let line = answer.lines().next().unwrap_or_default();
        Ok(line.trim_start_matches(':').parse()?)
    }

    /// By how the slots were divided at first.
    fn primary_of(&self, key: &str) -> anyhow::Result<usize> {
        let slot = self.slot(key)?;
        (0..PRIMARIES)
            .find(|number| slot < SLOTS * (*number as u32 + 1) / PRIMARIES as u32)
            .context("no such slot")
    }
}

fn id(node: &Redis) -> anyhow::Result<String> {
    let answer = node.command("CLUSTER MYID")?;
    let id = answer.lines().find(|line| line.len() == 40);
    Ok(id.context("no id")?.to_owned())
}
