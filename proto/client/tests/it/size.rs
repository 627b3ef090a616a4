use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use wakeline_client::{Config, Event, Page, Step, v1};

use crate::drive::{at, config, record, start};

/// A page view and 20 custom events of 5 properties, as a shop would send them, with all that goes along.
#[test]
fn a_page_view_and_twenty_custom_events_take_few_bytes() -> std::io::Result<()> {
    let config = Config {
        key: "wk_3k9d2m4x7q8r5t1v".to_owned(),
        client: v1::Client {
            name: "web".to_owned(),
            version: "0.1.0".to_owned(),
        },
        device: v1::Device {
            language: "de-DE".to_owned(),
            timezone: "Europe/Berlin".to_owned(),
            screen_width: 1920,
            screen_height: 1080,
            ..v1::Device::default()
        },
        ..config()
    };
    let key = config.key.clone();
    let mut client = start(0x9e37_79b9_7f4a_7c15, config, at(0));
    client.set_page(Page {
        url: "https://shop.example/products/teapot?utm_source=newsletter".to_owned(),
        referrer: "https://search.example/".to_owned(),
        title: "Teapot, cast iron, 0.8 l – Shop".to_owned(),
    });
    record(&mut client, Event::page_view(), at(12));
    for i in 0..20_i64 {
        let names = [
            "filter_changed",
            "image_viewed",
            "variant_selected",
            "tooltip_opened",
        ];
        let event = Event::custom(names[i as usize % 4])
            .with("position", i)
            .with(
                "label",
                ["red", "blue", "cast iron", "0.8 l", "gift"][i as usize % 5],
            )
            .with("price", [19.99, 24.5, 39.0][i as usize % 3])
            .with("in_stock", i % 3 == 0)
            .with("list", "recommendations");
        record(&mut client, event, at(700 + 613 * i as u64));
    }
    client.flush();
    let Step::Send { bytes, .. } = client.next_step(at(13_000)) else {
        panic!("nothing to send");
    };
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&bytes)?;
    let gzip = gzip.finish()?;

    assert_eq!(
        wakeline_proto::batch::decode(&bytes)
            .map(|batch| batch.key)
            .ok(),
        Some(key)
    );
    assert!(bytes.len() <= 900, "{} bytes raw", bytes.len());
    assert!(gzip.len() <= 600, "{} bytes gzip", gzip.len());
    Ok(())
}
