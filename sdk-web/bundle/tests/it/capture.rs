//! What is captured without a call, what the site's settings say, and what the overlay shows.

use wakeline_testbed::eventually;

use crate::site::{LIMIT, Site};

const PAGE: &str = "TAG data-capture='all'></script>
    <main style='height: 4000px' id=main>
      <form id=newsletter action=/subscribe><input name=email value=robin@example.org><button>Subscribe</button></form>
      <a id=away href='https://other.example/page?token=1' target=_blank>Away</a>
      <a id=list href='/files/price-list.pdf?user=7' download>List</a>
      <button id=order-93115>Order</button>
    </main>
    <script>
      // Nobody leaves the page.
      addEventListener('click', (event) => event.target.closest('a') && event.preventDefault());
      addEventListener('break', () => { throw new Error('broken') }, true);
      addEventListener('submit', (event) => event.preventDefault());
    </script>";

#[tokio::test]
async fn every_switch_records_what_it_says_and_no_values() -> anyhow::Result<()> {
    let site = Site::start(&[("/", PAGE)]).await?;
    let browser = site.open("/?q=blue+mug").await?;
    assert_eq!(site.event("search").await?.property("term"), "blue mug");
    browser
        .run(
            "document.querySelector('#away').click(); document.querySelector('#list').click();
            document.querySelector('#newsletter').requestSubmit();
            for (let i = 0; i < 3; i += 1) document.querySelector('#order-93115').click();
            document.querySelector('#away').dispatchEvent(new Event('break')); scrollTo(0, 2500);
            const touch = (type, x) => { const at = new Touch({ identifier: 1, target: document.body, clientX: x, clientY: 50 });
                document.body.dispatchEvent(new TouchEvent(type, { bubbles: true, touches: type == 'touchstart' ? [at] : [], changedTouches: [at] })) };
            touch('touchstart', 300); touch('touchend', 100)",
        )
        .await?;
    assert_eq!(
        site.event("outbound_click").await?.property("url"),
        "https://other.example/page"
    );
    let download = site.event("file_download").await?;
    assert!(
        download.property("url").ends_with("/files/price-list.pdf"),
        "{download:?}"
    );
    assert_eq!(
        site.event("form").await?.property("element"),
        "form#newsletter"
    );
    let rage = site.event("rage_click").await?;
    assert_eq!(
        rage.property("element"),
        "main#main>button",
        "an id with a number is not steady"
    );
    let error = site.event("js_error").await?;
    assert!(
        error.property("message").contains("broken") && error.passive,
        "{error:?}"
    );
    assert_eq!(site.event("scroll").await?.property("percent"), "50");
    assert_eq!(site.event("swipe").await?.property("direction"), "left");
    assert!(
        site.event("click")
            .await?
            .property("element")
            .starts_with("a#")
    );
    let vital = site.event("web_vital").await?;
    assert!(
        vital.passive && !vital.property("rating").is_empty(),
        "{vital:?}"
    );
    // Attention is told when the page goes, with the page's last beacon.
    browser.run("dispatchEvent(new Event('scroll')); setTimeout(() => location.assign('about:blank'), 200)").await?;
    site.event("engagement").await?;
    let all = format!("{:?}", site.events());
    for secret in ["robin@example.org", "token=1", "user=7"] {
        assert!(!all.contains(secret), "{secret}");
    }
    browser.close().await
}

#[tokio::test]
async fn a_page_that_is_not_there_says_so_and_begins_no_visit() -> anyhow::Result<()> {
    let page = "<meta name=wakeline:status content=404>TAG data-capture=notFound></script>";
    let site = Site::start(&[("/gone", page)]).await?;
    let browser = site.open("/gone").await?;
    assert!(site.event("not_found").await?.passive);
    browser.close().await
}

#[tokio::test]
async fn settings_reach_an_open_page_with_its_next_reply() -> anyhow::Result<()> {
    let site = Site::start(&[("/", "TAG></script><button id=buy>Buy</button>")]).await?;
    let browser = site.open("/").await?;
    site.event("page_view").await?;
    browser
        .run("document.querySelector('#buy').click()")
        .await?;
    site.set(r#"{"capture":["clicks"],"blocked":["/private*"]}"#);
    browser.run("wakeline.track('ask')").await?;
    eventually("a click", LIMIT, async || {
        browser
            .run("document.querySelector('#buy').click()")
            .await?;
        Ok(site.labels().contains(&"click".to_owned()).then_some(()))
    })
    .await?;
    browser.run("history.pushState({}, '', '/private/area'); wakeline.track('hidden'); history.pushState({}, '', '/open'); wakeline.track('shown')").await?;
    site.event("shown").await?;
    assert!(
        !site.labels().contains(&"hidden".to_owned()),
        "{:?}",
        site.labels()
    );
    assert!(
        site.events()
            .iter()
            .all(|event| !event.url.contains("private"))
    );
    // Who is not in the sample says no more.
    site.set(r#"{"sampled":false}"#);
    browser
        .run("wakeline.track('last'); wakeline.flush()")
        .await?;
    site.event("last").await?;
    eventually("silence", LIMIT, async || {
        let before = site.events().len();
        browser
            .run("wakeline.track('never'); wakeline.flush()")
            .await?;
        tokio::task::yield_now().await;
        Ok((site.events().len() == before).then_some(()))
    })
    .await?;
    browser.close().await
}

#[tokio::test]
async fn the_overlay_shows_events_and_what_became_of_them() -> anyhow::Result<()> {
    let policy = "default-src 'none'; script-src ORIGIN 'wasm-unsafe-eval'; connect-src ORIGIN";
    let site = Site::with_policies(&[("/", "TAG></script>", policy)]).await?;
    let browser = site.open("/?wakeline_debug").await?;
    browser.run("wakeline.track('shown_event', { n: 1 }); wakeline.order({ id: '1', currency: 'EUR', value: 1.5, items: [] })").await?;
    eventually("fates", LIMIT, async || {
        let text = browser
            .run("return document.querySelector('wakeline-debug')?.shadowRoot.textContent ?? ''")
            .await?;
        let text = text.as_str().unwrap_or_default();
        Ok((text.contains("shown_event") && text.contains("accepted")).then_some(()))
    })
    .await?;
    let refused = site.event("refused").await?;
    assert_eq!(
        refused.name, "invalid_money",
        "what the page could not be told reaches the ledger"
    );
    browser.close().await
}

#[tokio::test]
async fn the_console_mode_shows_events_and_their_fates() -> anyhow::Result<()> {
    let page = "<script>
        window.said = [];
        console.log = (...what) => said.push(JSON.stringify(what));
        addEventListener('DOMContentLoaded', () => wakeline.track('early'));
        </script>TAG data-debug=true></script>";
    let site = Site::start(&[("/", page)]).await?;
    let browser = site.open("/").await?;
    browser
        .run("wakeline.track('late'); return wakeline.flush()")
        .await?;
    let said = browser.run("return said.join('\\n')").await?;
    let said = said.as_str().unwrap_or_default();
    for expected in [
        r#"["wakeline",1,{"type":"custom","name":"early""#,
        "late",
        r#""reply",202"#,
        "fates",
    ] {
        assert!(said.contains(expected), "{expected} is not in:\n{said}");
    }
    browser.close().await
}
