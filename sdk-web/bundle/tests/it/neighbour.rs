//! What the SDK takes, and what it does not do to pages.

use wakeline_testbed::eventually;

use crate::site::{LIMIT, Site};

#[tokio::test]
async fn whatever_a_page_passes_is_coerced_or_refused_and_counted_and_nothing_is_thrown()
-> anyhow::Result<()> {
    let site = Site::start(&[("/", "TAG></script>")]).await?;
    let browser = site.open("/").await?;
    let warnings = browser
        .run(
            "const said = []; const { warn } = console; console.warn = (...what) => said.push(what[0]);
            const circular = {}; circular.self = circular;
            const throwing = { good: 1, get bad() { throw new Error('no') } };
            const many = Object.fromEntries(Array.from({ length: 10000 }, (_, n) => ['p' + n, n]));
            wakeline.track('odd', { circular, big: 10n ** 20n, symbol: Symbol('s'), f() {}, nan: NaN, inf: 1 / 0, never: new Date(NaN),
                at: new Date(1000), list: [1], none: null, half: 'a\\ud800b', ['x'.repeat(200)]: 1, '': 2, yes: true });
            wakeline.track('throwing', throwing); wakeline.track('many', many);
            wakeline.track('long', { text: 'ä'.repeat(1 << 20) });
            wakeline.track(Symbol('no')); wakeline.order(null); wakeline.order({ id: 'o', currency: 'EUR', value: 0.1, items: [] });
            wakeline.track(''); wakeline.identify(''); wakeline.use(() => { throw 1 }); wakeline.track('dropped');
            return said",
        )
        .await?;
    let odd = site.event("odd").await?;
    let names: Vec<_> = odd.properties.keys().map(String::as_str).collect();
    assert_eq!(names, ["at", "big", "half", "yes"]);
    assert_eq!(
        (odd.property("at"), odd.property("big")),
        ("@1000", "100000000000000000000")
    );
    assert_eq!(odd.property("half"), "a\u{fffd}b");
    assert_eq!(site.event("throwing").await?.property("good"), "1");
    assert_eq!(site.event("many").await?.properties.len(), 128);
    assert_eq!(site.event("long").await?.property("text").len(), 4_096);
    eventually("what was refused", LIMIT, async || {
        let labels = site.labels();
        // What has no name is sent as it is: the server refuses it, and keeps it.
        let refused = labels.iter().filter(|label| *label == "refused").count();
        Ok((refused == 5 && labels.iter().any(String::is_empty)).then_some(()))
    })
    .await
    .map_err(|error| error.context(format!("{:?}", site.labels())))?;
    let warnings: Vec<&str> = warnings
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|said| said.as_str())
        .collect();
    let mut once = warnings.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(
        warnings.len(),
        once.len(),
        "one warning a kind: {warnings:?}"
    );
    browser.close().await
}

#[tokio::test]
async fn a_page_that_changed_prototypes_and_has_elements_named_like_ours_is_recorded()
-> anyhow::Result<()> {
    let page = "<script>
        Array.prototype.toJSON = () => 'no'; Array.prototype.extra = 1; Object.prototype.other = 2;
        </script><form name=title></form><img name=referrer><div id=wakeline></div>TAG></script>";
    let site = Site::start(&[("/", page)]).await?;
    let browser = site.open("/").await?;
    browser.run("wakeline.order({ id: 'o', currency: 'EUR', value: 5, items: [{ sku: 's', price: 5, quantity: 1 }] })").await?;
    site.event("order").await?;
    assert_eq!(site.labels(), ["page_view", "order"]);
    browser.close().await
}

#[tokio::test]
async fn a_strict_policy_is_enough_and_one_global_is_all_that_is_left() -> anyhow::Result<()> {
    let strict = "default-src 'none'; script-src ORIGIN 'wasm-unsafe-eval'; connect-src ORIGIN";
    let no_wasm = "default-src 'none'; script-src ORIGIN; connect-src ORIGIN";
    let page = "TAG data-capture=clicks></script>";
    let site = Site::with_policies(&[("/", page, strict), ("/plain", page, no_wasm)]).await?;
    let browser = site.open("/").await?;
    let globals = "const frame = document.createElement('iframe'); document.documentElement.append(frame);
        const known = new Set(Object.getOwnPropertyNames(frame.contentWindow)); frame.remove();
        return Object.getOwnPropertyNames(window).filter((name) => !known.has(name) && !/^(cdc_|\\d+$|ret_)/.test(name))";
    browser.run("wakeline.track('strict')").await?;
    let strict = site.event("strict").await?;
    assert_eq!(site.json_requests(), 0);
    let zone = browser.run("return Intl.DateTimeFormat().resolvedOptions().timeZone");
    assert_eq!(zone.await?, strict.time_zone.as_str());
    assert_eq!(browser.run(globals).await?, serde_json::json!(["wakeline"]));
    browser.page.goto(&format!("{}/plain", site.origin)).await?;
    browser
        .run("wakeline.track('plain', { at: new Date(0), half: 'a\\ud800b' })")
        .await?;
    let plain = site.event("plain").await?;
    assert!(site.json_requests() > 0);
    assert_eq!(plain.property("half"), "a\u{fffd}b");
    assert_eq!(plain.visitor, site.event("strict").await?.visitor);
    browser.close().await
}

#[tokio::test]
async fn plugins_change_events_or_drop_them() -> anyhow::Result<()> {
    let site = Site::start(&[("/", "TAG></script>")]).await?;
    let browser = site.open("/").await?;
    browser
        .run(
            "wakeline.use((event) => event.name == 'unwanted' ? null : event);
            wakeline.use((event) => { event.properties.more = 1; delete event.properties.secret; return event });
            wakeline.track('unwanted'); wakeline.track('wanted', { secret: 'x' })",
        )
        .await?;
    let wanted = site.event("wanted").await?;
    assert_eq!(
        (wanted.property("more"), wanted.property("secret")),
        ("1", "")
    );
    assert_eq!(site.labels(), ["page_view", "wanted"]);
    browser.close().await
}

#[tokio::test]
async fn one_wrong_call_costs_itself_and_no_other_event() -> anyhow::Result<()> {
    let calls = [
        "const o = {}; o.o = o; wakeline.set({ n: 10n, o }); wakeline.set({ fine: 1 })",
        "wakeline.order({ id: 'A', currency: 'EUR', value: 3600n, items: [] })",
        "wakeline.use((event) => { if (event.name == 'poison') event.properties.x = 5n; return event }); wakeline.track('poison')",
        "wakeline.page({ url: new URL(location.href), title: 42 })",
        "wakeline.use(undefined)",
        "wakeline.use((event) => event.name == 'poison' ? true : event); wakeline.track('poison')",
        "wakeline.use((event) => event.name == 'poison' ? Promise.resolve(event) : event); wakeline.track('poison')",
        "wakeline.use((event) => { if (event.name == 'poison') delete event.properties; return event }); wakeline.track('poison')",
        "wakeline.identify('u'.repeat(129))",
    ];
    let site = Site::start(&[("/", "TAG></script>")]).await?;
    let browser = site.open("/").await?;
    for (n, call) in calls.iter().enumerate() {
        browser.page.goto(&format!("{}/?{n}", site.origin)).await?;
        browser
            .run(&format!("said = []; console.warn = (what) => said.push(what); {call}; wakeline.track('after{n}')"))
            .await?;
        let after = site.event(&format!("after{n}")).await?;
        assert_eq!(after.user, "", "{call}");
        let failed = browser.run("return said.includes('wakeline: the client failed')");
        assert_eq!(failed.await?, false, "{call}");
        if n == 0 {
            assert_eq!((after.property("n"), after.property("fine")), ("10", "1"));
        }
    }
    // All but `set` and `page`.
    eventually("what was refused", LIMIT, async || {
        let labels = site.labels();
        let refused = labels.iter().filter(|label| *label == "refused").count();
        Ok((refused == 7).then_some(()))
    })
    .await
    .map_err(|error| error.context(format!("{:?}", site.labels())))?;
    browser.close().await
}
