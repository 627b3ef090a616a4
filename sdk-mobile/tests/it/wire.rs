//! Bytes on the wire.

use serde_json::json;
use wakeline_mobile::app::Task;

use crate::host::{TestClock, open_with};

/// Fifty events of three properties, as an app's screens give them.
#[test]
fn in_batches_of_50_an_event_takes_at_most_25_bytes() {
    let data = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let device = json!({"key": "wk_3k9d2m4x7q8r5t1v", "sdk": "kotlin", "os": "Android", "os_version": "16", "model": "Pixel 9",
        "app_version": "4.12.0", "language": "de-DE", "timezone": "Europe/Berlin", "screen_width": 412, "screen_height": 915});
    let app = open_with(data.path(), &clock, &device);
    app.record(r#"{"type":"screen_view","url":"Product","title":"Harbour mug"}"#);
    let names = [
        "image_viewed",
        "variant_selected",
        "filter_changed",
        "tooltip_opened",
    ];
    for n in 1..50_usize {
        clock.advance(613 + 97 * (n as u64 % 7));
        let label = ["red", "blue", "cast iron", "0.8 l", "gift"][n % 5];
        let name = names[n % 4];
        let said = json!({"name": name, "properties": {"position": n, "label": label, "in_stock": n % 3 == 0}});
        assert!(app.record(&said.to_string()));
    }
    app.flush();
    assert!(app.sync(10_000));
    let Task::Send(upload) = app.next_task(5_000) else {
        panic!("nothing to send")
    };
    assert_eq!(
        crate::host::events(&crate::host::decoded(&upload)).len(),
        50
    );
    let each = upload.body.len() as f64 / 50.0;
    println!("{} bytes, {each} an event", upload.body.len());
    assert!(each <= 25.0, "{each} bytes an event");
}
