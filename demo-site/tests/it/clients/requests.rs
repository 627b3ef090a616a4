//! Trackers that publish no client on npm: requests as their scripts make them.

use std::time::Duration;

use serde_json::{Value, json};
use wakeline_testbed::Stack;

use super::{Visit, stack};

const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";
const LANDING: &str = "https://shop.example/?utm_source=newsletter&utm_medium=email";
const THANKS: &str = "https://shop.example/thanks";

/// Sends `body` to a door: its status.
async fn post(stack: &Stack, path: &str, body: String) -> anyhow::Result<u16> {
    let url = format!("{}{path}", stack.collector_url);
    let request = reqwest::Client::new().post(url).body(body);
    let request = request.header("origin", "https://shop.example");
    let response = request.header("user-agent", BROWSER).send().await?;
    let allowed = response.headers().get("access-control-allow-credentials");
    anyhow::ensure!(allowed.is_some_and(|value| value == "true"));
    Ok(response.status().as_u16())
}

fn query(pairs: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs).finish()
}

#[tokio::test]
async fn gtag_tells_a_visit() -> anyhow::Result<()> {
    let stack = stack().await?;
    let common = [
        ("v", "2"),
        ("tid", "G-12345"),
        ("cid", "1234.5678"),
        ("sid", "1790000000"),
        ("ul", "en-us"),
        ("sr", "1280x900"),
    ];
    let landing = [
        ("en", "page_view"),
        ("dl", LANDING),
        ("dt", "Shop"),
        ("_ss", "1"),
    ];
    let path = |pairs: &[(&str, &str)]| format!("/g/collect?{}", query(pairs));
    let single = path(&[&common[..], &landing].concat());
    assert_eq!(post(&stack, &single, String::new()).await?, 204);
    // What happens soon after each other comes in one request.
    let signup = query(&[
        ("en", "signup"),
        ("dl", LANDING),
        ("ep.plan", "pro"),
        ("_et", "1200"),
    ]);
    let view = query(&[("en", "page_view"), ("dl", THANKS), ("dt", "Thank you")]);
    let purchase = query(&[
        ("en", "purchase"),
        ("dl", THANKS),
        ("cu", "EUR"),
        ("ep.transaction_id", "A-1"),
        ("epn.value", "25.5"),
        ("pr1", "idAL-101~nmHarbour mug~pr12.75~qt2"),
    ]);
    let lines = [signup, view, purchase].join("\r\n");
    assert_eq!(post(&stack, &path(&common), lines).await?, 204);
    let visit = Visit::with(&[("signup", 1), ("order", 1)]);
    visit.is_reported(&stack).await
}

#[tokio::test]
async fn ga4_of_servers_tells_a_visit() -> anyhow::Result<()> {
    let stack = stack().await?;
    let body = json!({
        "client_id": "1234.5678",
        "user_id": "customer-17",
        "events": [
            {"name": "page_view", "params": {"page_location": LANDING, "page_title": "Shop"}},
            {"name": "signup", "params": {"plan": "pro", "engagement_time_msec": 100}},
            {"name": "page_view", "params": {"page_location": THANKS}},
            {"name": "purchase", "params": {"transaction_id": "A-1", "currency": "EUR", "value": 25.5,
                "items": [{"item_id": "AL-101", "item_name": "Harbour mug", "price": 12.75, "quantity": 2}]}},
        ],
    });
    let path = "/mp/collect?measurement_id=G-12345&api_secret=secret";
    assert_eq!(post(&stack, path, body.to_string()).await?, 204);
    let visit = Visit::with(&[("signup", 1), ("order", 1)]);
    visit.is_reported(&stack).await
}

#[tokio::test]
async fn the_script_of_umami_tells_a_visit() -> anyhow::Result<()> {
    let stack = stack().await?;
    let payload = |url: &str| {
        json!({
            "website": "50429a93-8479-4073-be80-d5d29c09c2ec",
            "hostname": "shop.example",
            "screen": "1280x900",
            "language": "en-US",
            "title": "Shop",
            "url": url,
            "referrer": "",
        })
    };
    let event = |url: &str, name: &str, data: Value| {
        let mut payload = payload(url);
        payload["name"] = name.into();
        payload["data"] = data;
        payload
    };
    for payload in [
        payload(LANDING),
        event(LANDING, "signup", json!({"plan": "pro"})),
        payload(THANKS),
        event(
            THANKS,
            "Purchase",
            json!({"revenue": 25.5, "currency": "EUR"}),
        ),
    ] {
        let body = json!({"type": "event", "payload": payload}).to_string();
        assert_eq!(post(&stack, "/api/send", body).await?, 200);
    }
    let visit = Visit::with(&[("signup", 1), ("Purchase", 1)]);
    visit.is_reported(&stack).await
}

#[tokio::test]
async fn the_script_of_matomo_tells_a_visit_with_all_in_the_url() -> anyhow::Result<()> {
    let stack = stack().await?;
    let common = [
        ("idsite", "7"),
        ("rec", "1"),
        ("_id", "0123456789abcdef"),
        ("send_image", "0"),
        ("res", "1280x900"),
    ];
    for (url, hit) in [
        (LANDING, &[("action_name", "Shop")][..]),
        (
            LANDING,
            &[("e_c", "account"), ("e_a", "signup"), ("e_n", "pro")],
        ),
        (THANKS, &[("action_name", "Thank you")]),
        (
            THANKS,
            &[("idgoal", "0"), ("ec_id", "A-1"), ("revenue", "25.5")],
        ),
        (THANKS, &[("idgoal", "3"), ("revenue", "4.5")]),
        (THANKS, &[("ping", "1")]),
    ] {
        let all = [&common[..], &[("url", url)], hit].concat();
        let path = format!("/matomo.php?{}", query(&all));
        assert_eq!(post(&stack, &path, String::new()).await?, 204);
    }
    let visit = Visit {
        // The goal has a value of its own; amounts are in the site's currency.
        orders: 2,
        revenue: Some((30.0, "USD".to_owned())),
        ..Visit::with(&[("signup", 1), ("order", 1), ("goal 3", 1)])
    };
    visit.is_reported(&stack).await
}

#[tokio::test]
async fn a_web_pixel_of_shopify_tells_a_visit() -> anyhow::Result<()> {
    let stack = stack().await?;
    let start = jiff::Timestamp::now() - Duration::from_secs(60);
    let event = |second: u64, name: &str, url: &str, data: Value| {
        json!({
            "id": format!("sh-{second}"),
            "name": name,
            "clientId": "d9a1f0d2-7c38-4b2d-9d2a-2f7d5d3b8f11",
            "timestamp": (start + Duration::from_secs(second)).to_string(),
            "context": {
                "document": {"location": {"href": url, "host": "shop.example"}, "referrer": "", "title": "Shop"},
                "navigator": {"language": "en-US", "userAgent": BROWSER},
                "window": {"screen": {"width": 1280, "height": 900}},
            },
            "data": data,
        })
    };
    let checkout = json!({"checkout": {
        "currencyCode": "EUR",
        "order": {"id": "A-1"},
        "totalPrice": {"amount": 25.5, "currencyCode": "EUR"},
        "lineItems": [{"title": "Harbour mug", "quantity": 2,
            "variant": {"sku": "AL-101", "price": {"amount": 12.75, "currencyCode": "EUR"}}}],
    }});
    let path = format!("/shopify?k={}", stack.write_key);
    for event in [
        event(1, "page_viewed", LANDING, json!({})),
        event(2, "signup", LANDING, json!({"plan": "pro"})),
        event(3, "page_viewed", THANKS, json!({})),
        event(4, "checkout_completed", THANKS, checkout.clone()),
        // The thank-you page loads again: the same event.
        event(4, "checkout_completed", THANKS, checkout.clone()),
    ] {
        assert_eq!(post(&stack, &path, event.to_string()).await?, 200);
    }
    let visit = Visit {
        duplicates: 1,
        ..Visit::with(&[("signup", 1), ("order", 1)])
    };
    visit.is_reported(&stack).await
}
