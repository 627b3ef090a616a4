//! The client writes protobuf by hand; that each batch has the bytes that prost would write is asserted wherever a
//! test [reads](crate::drive::read) one.

use wakeline_client::{Config, Event, Now, Step, Value, v1};

use crate::drive::{at, config, order, page, read, record, start};

/// A batch with everything in it that a client can say.
fn batch() -> Vec<u8> {
    let mut old = start(7, config(), at(0));
    old.set_consent(v1::Consent::Granted);
    old.set_page(page("https://shop.example/old"));
    record(&mut old, Event::page_view(), at(10));
    record(&mut old, Event::page_view(), at(400));
    let now = Now {
        mono_ms: 0,
        ..at(1_000)
    };
    let config = Config {
        client: v1::Client {
            name: "web".to_owned(),
            version: "0.1.0".to_owned(),
        },
        device: v1::Device {
            language: "de-DE".to_owned(),
            timezone: "Europe/Berlin".to_owned(),
            screen_width: 1920,
            screen_height: 1080,
            os: "Android".to_owned(),
            os_version: "16".to_owned(),
            model: "P".to_owned(),
            app_version: "2".to_owned(),
        },
        ..config()
    };
    let mut client = start(9, config, now);
    client.restore(&old.snapshot(at(500)), now);
    client.set_consent(v1::Consent::Granted);
    record(&mut client, Event::custom("no page"), now);
    client.set_page(page("https://shop.example/ä"));
    record(&mut client, Event::page_view(), now);
    let values = Event {
        passive: true,
        ..Event::custom("values")
            .with("text", "x".repeat(300))
            .with("empty", "")
            .with("small", -3)
            .with("large", i64::MIN)
            .with("number", 0.1)
            .with("again", 0.1)
            .with("flag", true)
            .with("time", Value::Timestamp(1_790_000_000_000))
    };
    record(&mut client, values.clone(), at(300));
    record(&mut client, values, at(300));
    record(&mut client, order("o1"), at(1_300));
    let empty = v1::Order {
        currency: "EUR".to_owned(),
        ..v1::Order::default()
    };
    let cart = Event::order(v1::EventType::Cart, empty);
    record(&mut client, cart, at(1_300));
    let engagement = v1::Engagement {
        time_ms: 3_000,
        scroll_percent: 80,
    };
    record(&mut client, Event::engagement(engagement), at(1_400));
    record(
        &mut client,
        Event::engagement(v1::Engagement::default()),
        at(1_400),
    );
    let exposure = v1::Exposure {
        experiment: "e".to_owned(),
        variant: "v".to_owned(),
    };
    record(&mut client, Event::exposure(exposure), at(1_400));
    client.flush();
    let now = at(3_000);
    let Step::Send { bytes, .. } = client.next_step(now) else {
        panic!("nothing to send");
    };
    assert_eq!(read(&bytes).len(), 11);
    assert_eq!(client.len(), 11, "all in one batch");
    bytes
}

#[test]
fn a_batch_has_the_bytes_that_are_agreed() {
    let hex: Vec<String> = batch().iter().map(|byte| format!("{byte:02x}")).collect();
    let golden: String = include_str!("batch.hex").split_whitespace().collect();
    assert_eq!(hex.concat(), golden);
}
