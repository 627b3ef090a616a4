//! Every event has one fate, and the ledger tells it, whatever was sent, resent or killed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use prost::Message as _;
use serde_json::{Value, json};
use wakeline_proto::v1;
use wakeline_testbed::{Stack, eventually};

const IN_TIME: Duration = Duration::from_secs(60);
/// Longer ago than an event may be by itself.
const OLD: &str = "2020-02-02T02:02:02Z";
const OLD_AGE_MS: i64 = 40 * 86_400_000;

/// What was sent, and so what the ledger has to say.
#[derive(Debug, Default)]
struct Truth {
    accepted: u64,
    distinct: BTreeSet<String>,
    rejected: BTreeMap<&'static str, u64>,
    unknown: u64,
}

impl Truth {
    fn refused(&self) -> u64 {
        self.rejected.values().sum()
    }
}

/// Events of one request, as JSON, and what is to become of them.
fn request(rng: &mut fastrand::Rng, number: u64, truth: &mut Truth) -> Value {
    let events = (0..rng.u64(1..8)).map(|index| {
        let good = json!({
            "type": "page_view",
            "visitor": format!("visitor-{}", rng.u64(..20)),
            "url": "https://shop.example/",
            "id": format!("{number}.{index}"),
        });
        let (reason, key, value) = match rng.u8(..10) {
            0 => ("no_consent", "consent", json!("denied")),
            1 => ("too_old", "time", json!(OLD)),
            2 => ("malformed", "surprise", json!(true)),
            3 => ("invalid_url", "url", json!("shop.example")),
            4 if !truth.distinct.is_empty() => {
                truth.accepted += 1;
                let copied = rng.usize(..truth.distinct.len());
                let visitor_and_id = truth.distinct.iter().nth(copied).cloned();
                let visitor_and_id = visitor_and_id.unwrap_or_default();
                let (visitor, id) = visitor_and_id.split_once(' ').unwrap_or_default();
                return json!({
                    "type": "page_view",
                    "visitor": visitor,
                    "url": "https://shop.example/",
                    "id": id,
                });
            }
            _ => {
                truth.accepted += 1;
                let text = |key: &str| good[key].as_str().unwrap_or_default().to_owned();
                truth
                    .distinct
                    .insert(format!("{} {}", text("visitor"), text("id")));
                return good;
            }
        };
        *truth.rejected.entry(reason).or_default() += 1;
        let mut bad = good;
        bad[key] = value;
        bad
    });
    events.collect()
}

async fn settled(stack: &Stack, truth: &Truth) -> anyhow::Result<Value> {
    eventually("all that was sent is in the ledger", IN_TIME, || async {
        let ledger = stack.ledger("shop.example", "hour").await?;
        let total = &ledger["total"];
        let whole = total["received"] == truth.accepted + truth.refused()
            && total["unsettled"] == 0
            && total["accepted"] == truth.accepted;
        Ok(whole.then_some(ledger))
    })
    .await
}

async fn unknown_settled(stack: &Stack, truth: &Truth) -> anyhow::Result<()> {
    let seen = std::cell::Cell::new(None);
    eventually("unknown keys are in the ledger", IN_TIME, || async {
        let ledger = stack.ledger("(unknown)", "day").await?;
        let found = ledger["total"]["rejected"]["unknown_key"].as_u64();
        seen.set(Some(found.unwrap_or(0)));
        Ok((seen.get() == Some(truth.unknown)).then_some(()))
    })
    .await
    .with_context(|| format!("sent {}, the ledger has {:?}", truth.unknown, seen.get()))
}

#[tokio::test]
async fn the_ledger_balances_and_is_the_truth_whatever_is_sent_and_killed() -> anyhow::Result<()> {
    let seed = std::env::var("WAKELINE_KILL_SEED").ok();
    let seed = seed.and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    eprintln!("seed {seed} (WAKELINE_KILL_SEED repeats the requests and the moments)");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut stack = Stack::start().await?;
    let mut truth = Truth::default();
    for number in 0..150 {
        match rng.u8(..40) {
            0 | 1 => {
                // What is only in memory is what a kill may take: the counts of a second of unknown keys.
                unknown_settled(&stack, &truth).await?;
                stack.restart_collector()?;
            }
            2 | 3 => stack.restart_aggregator()?,
            4 => {
                unknown_settled(&stack, &truth).await?;
                stack.restart_both()?;
            }
            5..9 => {
                let status = stack.send("nobodys-key", &json!([])).await?.0;
                // While there is no aggregator, nobody can tell.
                anyhow::ensure!(matches!(status, 401 | 503), "{status}");
                truth.unknown += u64::from(status == 401);
            }
            _ => {
                let before = truth.refused() + truth.accepted;
                let events = request(&mut rng, number, &mut truth);
                let (status, answer) = stack.send(&stack.write_key, &events).await?;
                anyhow::ensure!(status == 202, "{status}: {answer}");
                let decided = answer["rejected"].as_array().map_or(0, Vec::len) as u64
                    + answer["accepted"].as_u64().unwrap_or(0);
                anyhow::ensure!(before + decided == truth.refused() + truth.accepted);
            }
        }
    }
    unknown_settled(&stack, &truth).await?;
    let ledger = settled(&stack, &truth).await?;
    let total = &ledger["total"];
    assert_eq!(total["rejected"], json!(truth.rejected));
    assert_eq!(total["counted"], truth.distinct.len());
    let copies = truth.accepted - truth.distinct.len() as u64;
    assert_eq!(total["duplicate"], copies);
    for line in ledger["lines"].as_array().into_iter().flatten() {
        assert_eq!(line["unsettled"], 0, "{line}");
    }
    assert_eq!(stack.totals().await?[3], truth.distinct.len() as u64);
    let by_day = stack.ledger("shop.example", "day").await?;
    for figure in ["received", "accepted", "rejected", "counted", "duplicate"] {
        assert_eq!(by_day["total"][figure], total[figure], "{figure}");
    }

    let letters = stack.dead_letters(&[]).await?;
    let kept: u64 = truth.refused() - truth.rejected.get("no_consent").unwrap_or(&0);
    assert_eq!(letters.len() as u64, kept);
    assert!(
        letters
            .iter()
            .all(|letter| letter["payload"]["visitor"].is_string())
    );
    Ok(())
}

/// Sends one event that is refused by each door, and gives how many.
async fn refuse_by_each_door(stack: &Stack) -> anyhow::Result<u64> {
    let old = json!({"type": "page_view", "visitor": "json", "url": "https://shop.example/", "time": OLD,
        "properties": {"size": 3, "ratio": 0.5, "gift": true, "at": {"timestamp": OLD}}});
    let without_visitor = json!({"type": "click", "properties": {"a": "b"}});
    let answer = stack
        .send(&stack.write_key, &json!([old, without_visitor]))
        .await?;
    anyhow::ensure!(
        answer.1["rejected"]
            .as_array()
            .is_some_and(|all| all.len() == 2)
    );

    let mut batch = v1::Batch {
        key: stack.write_key.clone(),
        visitor: "native".to_owned(),
        consent: v1::Consent::Granted.into(),
        strings: vec!["https://shop.example/p".to_owned(), "size".to_owned()],
        kinds: vec![v1::Kind {
            r#type: v1::EventType::PageView.into(),
            ..v1::Kind::default()
        }],
        streams: vec![v1::Stream {
            id: 7,
            pages: vec![v1::Page {
                url: 1,
                ..v1::Page::default()
            }],
            events: vec![v1::BatchEvent {
                kind: 1,
                page: 1,
                age_delta: OLD_AGE_MS,
                ..v1::BatchEvent::default()
            }],
            ..v1::Stream::default()
        }],
        ..v1::Batch::default()
    };
    let mut refused = 2;
    for visitor in ["native".to_owned(), "x".repeat(129)] {
        batch.visitor = visitor;
        let answer = stack.send_batch(batch.encode_to_vec()).await?;
        let reply = v1::BatchReply::decode(answer.as_slice())?;
        anyhow::ensure!(reply.rejected.len() == 1, "{reply:?}");
        refused += 1;
    }
    // A page view without a URL, and a type that there is not.
    for query in ["v=pixel&u=", "v=pixel&t=dance&u=https://shop.example/&n=x"] {
        let reason = stack.pixel(query).await?;
        anyhow::ensure!(reason.is_some(), "{query}");
        refused += 1;
    }
    Ok(refused)
}

fn detail(result: &Value) -> &str {
    result["detail"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn what_each_door_refuses_is_replayed_as_it_was_and_counts_once() -> anyhow::Result<()> {
    let stack = Stack::start().await?;
    let refused = refuse_by_each_door(&stack).await?;
    let letters = eventually("the dead letters are there", IN_TIME, || async {
        let letters = stack.dead_letters(&[]).await?;
        Ok((letters.len() as u64 == refused).then_some(letters))
    })
    .await?;

    // Times are trusted in a replay, so what was too old is not any more; the rest is refused for what it was refused.
    let replayed = stack.replay(&json!({})).await?;
    let old: Vec<&Value> = letters
        .iter()
        .filter(|one| one["reason"] == "too_old")
        .collect();
    assert_eq!(old.len(), 2, "by JSON and in a batch");
    assert_eq!(
        (&replayed["accepted"], &replayed["more"]),
        (&json!(2), &json!(false))
    );
    assert_eq!(replayed["rejected"], refused - 2);
    for result in replayed["results"].as_array().into_iter().flatten() {
        let letter = letters.iter().find(|letter| letter["id"] == result["id"]);
        let letter = letter.unwrap_or(&Value::Null);
        if result["outcome"] == "rejected" {
            // Doors word their details differently.
            let (reason, _) = detail(result).split_once(':').unwrap_or_default();
            assert_eq!(letter["reason"], reason, "{letter} {result}");
        }
    }
    let counted = eventually("the replayed events are counted", IN_TIME, || async {
        let totals = stack.totals().await?;
        Ok((totals[2] == 2).then_some(totals))
    })
    .await?;
    assert_eq!(counted, [2, 2, 2, 2]);

    // Again, by their ids: they are known.
    let ids: Vec<&Value> = old.iter().map(|one| &one["id"]).collect();
    let again = stack.replay(&json!({ "ids": ids })).await?;
    assert_eq!(again["accepted"], 2);
    let ledger = eventually("the copies are in the ledger", IN_TIME, || async {
        let ledger = stack.ledger("shop.example", "hour").await?;
        Ok((ledger["total"]["duplicate"] == 2).then_some(ledger))
    })
    .await?;
    assert_eq!(ledger["total"]["counted"], 2);
    assert_eq!(stack.totals().await?, counted);
    let marked = stack.dead_letters(&[("reason", "too_old")]).await?;
    assert!(
        marked.iter().all(|letter| letter["outcome"] == "accepted"),
        "{marked:?}"
    );
    Ok(())
}
