//! Where the SDK runs: routers, sandboxes, workers, several times on a page, before it is loaded.

use wakeline_testbed::eventually;

use crate::site::{LIMIT, Site};

#[tokio::test]
async fn routers_of_both_kinds_are_followed_once_and_hashes_by_option() -> anyhow::Result<()> {
    let site = Site::start(&[
        ("/", "TAG></script>"),
        ("/hash", "TAG data-hash=true></script>"),
    ])
    .await?;
    let browser = site.open("/").await?;
    site.event("page_view").await?;
    browser
        .run(
            "navigation.addEventListener('navigate', (event) => { if (event.canIntercept) event.intercept() });
            history.pushState({}, '', '/one'); history.replaceState({}, '', '/one?filter=1'); location.hash = 'part';
            navigation.navigate('/two')",
        )
        .await?;
    eventually("/two", LIMIT, async || {
        Ok(site
            .events()
            .last()
            .is_some_and(|event| event.url.ends_with("/two"))
            .then_some(()))
    })
    .await?;
    let paths = |site: &Site| -> Vec<String> {
        let origin = site.origin.clone();
        let views = site
            .events()
            .into_iter()
            .filter(|event| event.kind == "page_view");
        views.map(|event| event.url.replace(&origin, "")).collect()
    };
    assert_eq!(paths(&site), ["/", "/one", "/two"]);
    let referrer = &site.events()[2].referrer;
    assert!(referrer.ends_with("/one?filter=1"), "{referrer}");
    browser
        .page
        .goto(&format!("{}/hash#a", site.origin))
        .await?;
    browser.run("location.hash = 'b'").await?;
    eventually("#b", LIMIT, async || {
        Ok(paths(&site)
            .last()
            .is_some_and(|path| path == "/hash#b")
            .then_some(()))
    })
    .await?;
    assert_eq!(paths(&site), ["/", "/one", "/two", "/hash#a", "/hash#b"]);
    browser.close().await
}

/// A page with the package in a sandbox.
const FRAME: &str = "<iframe sandbox=allow-scripts srcdoc=\"<script type=module>
        import { init } from 'ORIGIN/npm/wakeline.mjs';
        const wakeline = init({ key: 'wk_test', collector: 'ORIGIN/w' });
        wakeline.page({ url: 'https://shop.example/p/mug', title: 'Mug', referrer: 'https://search.example/' });
        wakeline.track('in_sandbox');
    </script>\"></iframe>";

/// A page with the package in a worker.
const WORKER: &str = "<script type=module>
        const code = `import { init } from 'ORIGIN/npm/wakeline.mjs';
            const wakeline = init({ key: 'wk_test', collector: 'ORIGIN/w' });
            wakeline.track('in_worker', { n: 1 });`;
        new Worker(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })), { type: 'module' });
    </script>";

#[tokio::test]
async fn a_sandboxed_frame_records_the_page_that_it_is_told() -> anyhow::Result<()> {
    let site = Site::start(&[("/", FRAME)]).await?;
    let browser = site.open("/").await?;
    let event = site.event("in_sandbox").await?;
    assert_eq!(event.url, "https://shop.example/p/mug");
    let view = site.event("page_view").await?;
    assert_eq!(view.referrer, "https://search.example/");
    assert_eq!(site.labels(), ["page_view", "in_sandbox"]);
    browser.close().await
}

#[tokio::test]
async fn a_worker_records_events_of_its_own() -> anyhow::Result<()> {
    let site = Site::start(&[("/", WORKER)]).await?;
    let browser = site.open("/").await?;
    let event = site.event("in_worker").await?;
    assert_eq!((event.url.as_str(), event.property("n")), ("", "1"));
    assert_eq!(site.labels(), ["in_worker"]);
    browser.close().await
}

#[tokio::test]
async fn where_a_policy_refuses_web_assembly_sandboxes_and_workers_send_json() -> anyhow::Result<()>
{
    let policy = "default-src 'none'; script-src ORIGIN 'unsafe-inline'; worker-src ORIGIN blob:; connect-src ORIGIN";
    let site = Site::with_policies(&[("/", FRAME, policy), ("/worker", WORKER, policy)]).await?;
    let browser = site.open("/").await?;
    let event = site.event("in_sandbox").await?;
    assert_eq!(event.url, "https://shop.example/p/mug");
    let known = site.json_requests();
    assert!(known > 0);
    browser
        .page
        .goto(&format!("{}/worker", site.origin))
        .await?;
    assert_eq!(site.event("in_worker").await?.property("n"), "1");
    assert!(site.json_requests() > known);
    browser.close().await
}

#[tokio::test]
async fn several_keys_have_clients_of_their_own_and_one_key_has_one() -> anyhow::Result<()> {
    let page = "TAG></script>TAG></script>
        <script type=module>
            import { init } from '/npm/wakeline.mjs';
            const same = init({ key: 'wk_test' });
            const other = init({ key: 'wk_other', pageViews: false });
            window.same = same === window.wakeline;
            same.track('same'); other.track('other');
        </script>";
    let site = Site::start(&[("/", page)]).await?;
    let browser = site.open("/").await?;
    site.event("same").await?;
    site.event("other").await?;
    assert_eq!(browser.run("return window.same").await?, true);
    let mut labels = site.labels();
    labels.sort();
    assert_eq!(labels, ["other", "page_view", "same"]);
    browser.close().await
}

#[tokio::test]
async fn calls_before_the_script_is_there_are_made_when_it_is() -> anyhow::Result<()> {
    let page = r#"<script>
        !function(w,n){w[n]=w[n]||{q:[]};"track page identify alias group reset productView cart checkout order set use setConsent flush"
        .split(" ").forEach(function(m){w[n][m]=w[n][m]||function(){w[n].q.push([m].concat([].slice.call(arguments)))}})}(window,"wakeline");
        wakeline.set({ early: true }); wakeline.track('stubbed', { n: 1 });
        </script>TAG></script>"#;
    let site = Site::start(&[("/", page)]).await?;
    let browser = site.open("/").await?;
    let event = site.event("stubbed").await?;
    assert_eq!(
        (event.property("n"), event.property("early")),
        ("1", "true")
    );
    assert_eq!(site.labels(), ["page_view", "stubbed"]);
    browser.close().await
}
