//! Who events are of, and what is kept on the device.

use anyhow::Context as _;
use wakeline_testbed::eventually;

use crate::site::{Event, LIMIT, Site};

/// Everything that the device keeps.
const STORED: &str = "return Object.keys(localStorage).filter((name) => name.startsWith('wakeline')).length + document.cookie.length";

#[tokio::test]
async fn pending_events_are_sent_when_consent_is_granted() -> anyhow::Result<()> {
    let site = Site::start(&[("/", "TAG data-consent=pending></script>")]).await?;
    let browser = site.open("/?utm_source=letter").await?;
    browser.run("wakeline.track('before', { n: 1 })").await?;
    assert_eq!(
        browser.run(STORED).await?,
        0,
        "nothing is kept while nobody has answered"
    );
    browser
        .run("wakeline.setConsent('granted'); wakeline.track('after')")
        .await?;
    let after = site.event("after").await?;
    let events = site.events();
    assert_eq!(site.labels(), ["page_view", "before", "after"]);
    assert!(
        events
            .iter()
            .all(|event| event.visitor == after.visitor && event.granted)
    );
    assert_eq!(after.visitor.len(), 22);
    assert!(
        events[0].url.ends_with("/?utm_source=letter"),
        "{}",
        events[0].url
    );
    browser.close().await
}

#[tokio::test]
async fn denied_events_are_destroyed_and_nothing_stays_on_the_device() -> anyhow::Result<()> {
    let site = Site::start(&[("/", "TAG data-consent=pending></script>")]).await?;
    let browser = site.open("/").await?;
    browser
        .run("wakeline.track('secret'); wakeline.setConsent('denied'); wakeline.track('more')")
        .await?;
    browser
        .run("wakeline.setConsent('granted'); wakeline.track('agreed')")
        .await?;
    site.event("agreed").await?;
    assert_eq!(site.labels(), ["agreed"]);
    browser
        .run("wakeline.setConsent('denied'); wakeline.track('late')")
        .await?;
    eventually("an empty device", LIMIT, async || {
        Ok((browser.run(STORED).await? == 0).then_some(()))
    })
    .await?;
    browser
        .run("wakeline.setConsent('granted'); wakeline.track('again')")
        .await?;
    let again = site.event("again").await?;
    let agreed = site.event("agreed").await?;
    assert_ne!(again.visitor, agreed.visitor, "who was forgotten is new");
    let stream = |event: &Event| event.id.split('.').next().map(str::to_owned);
    assert_ne!(stream(&again), stream(&agreed));
    assert_eq!(site.labels(), ["agreed", "again"]);
    browser.close().await
}

#[tokio::test]
async fn an_empty_answer_sends_nothing_and_a_reset_before_the_install_is_read_parts_two_visitors()
-> anyhow::Result<()> {
    let calls = "<script>wakeline = { q: [['track', 'before'], ['reset'], ['track', 'after']] }</script>TAG></script>";
    let site = Site::start(&[
        ("/", "TAG></script>"),
        ("/empty", "TAG data-consent=''></script>"),
        ("/reset", calls),
    ])
    .await?;
    let browser = site.open("/").await?;
    let known = site.event("page_view").await?.visitor;
    browser.page.goto(&format!("{}/empty", site.origin)).await?;
    browser
        .run("wakeline.track('unanswered'); return wakeline.flush()")
        .await?;
    browser.page.goto(&format!("{}/reset", site.origin)).await?;
    let after = site.event("after").await?;
    assert_eq!(site.event("before").await?.visitor, known);
    assert_ne!(after.visitor, known);
    assert_eq!(site.labels(), ["page_view", "page_view", "before", "after"]);
    browser.close().await
}

/// A page whose script runs when the loader is there and the main module, which comes after `load`, is not.
fn early(attributes: &str, script: &str) -> String {
    format!(
        "TAG {attributes}></script><script>addEventListener('DOMContentLoaded', () => {{ {script} }})</script>"
    )
}

#[tokio::test]
async fn answers_that_come_before_the_main_module_hold_from_then_on() -> anyhow::Result<()> {
    let script = "wakeline.track('secret'); wakeline.group('secret'); wakeline.setConsent('denied'); wakeline.track('denied');
        wakeline.group('denied'); wakeline.setConsent('granted'); wakeline.track('agreed')";
    let site = Site::start(&[
        ("/", &early("data-consent=pending", script)),
        ("/never-asked", &early("", script)),
        ("/denied", &early("data-consent=denied", script)),
    ])
    .await?;
    for (page, path) in ["/", "/never-asked", "/denied"].into_iter().enumerate() {
        let browser = site.open(path).await?;
        let agreed = eventually(path, LIMIT, async || Ok(site.events().get(page).cloned())).await?;
        assert!(agreed.granted && agreed.visitor.len() == 22, "{agreed:?}");
        assert!(agreed.id.ends_with(".0"), "no gap: {agreed:?}");
        browser.run("return wakeline.flush()").await?;
        assert_eq!(site.labels(), ["agreed", "agreed", "agreed"][..=page]);
        browser.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn who_says_no_before_the_main_module_is_there_leaves_nothing_behind() -> anyhow::Result<()> {
    // A page that is left in the same task, before anything else of ours can run.
    let left = "wakeline.track('secret'); setTimeout(() => { wakeline.track('secret'); wakeline.setConsent('denied');
        location.href = '/blank' }, 10)";
    let stays = "wakeline.track('secret'); wakeline.setConsent('denied')";
    let cookie = "data-persistence=cookie";
    let site = Site::start(&[
        ("/", "TAG data-persistence=cookie></script>"),
        ("/left", &early(cookie, left)),
        ("/blank", ""),
        ("/stays", &early(cookie, stays)),
    ])
    .await?;
    let browser = site.open("/left").await?;
    eventually("the blank page", LIMIT, async || {
        let path = browser.run("return location.pathname").await?;
        Ok((path == "/blank").then_some(()))
    })
    .await?;
    assert_eq!(browser.run(STORED).await?, 0);
    // What an earlier page was allowed to store goes, too.
    browser.page.goto(&site.origin).await?;
    browser
        .run("indexedDB.open('wakeline'); return wakeline.flush()")
        .await?;
    assert_eq!(site.labels(), ["page_view"]);
    assert_ne!(browser.run(STORED).await?, 0);
    browser.page.goto(&format!("{}/stays", site.origin)).await?;
    eventually("an empty device", LIMIT, async || {
        let databases = browser
            .run("return indexedDB.databases().then((all) => all.length)")
            .await?;
        Ok((databases == 0 && browser.run(STORED).await? == 0).then_some(()))
    })
    .await?;
    assert_eq!(site.labels(), ["page_view"]);
    browser.close().await
}

#[tokio::test]
async fn an_answer_that_is_none_is_waited_for_and_said() -> anyhow::Result<()> {
    let site = Site::start(&[("/", "TAG data-consent=pending></script>")]).await?;
    let browser = site.open("/").await?;
    browser
        .run("window.said = []; console.warn = (...what) => said.push(what[0]); return wakeline.flush()")
        .await?;
    for answer in ["'yes'", "undefined", "true"] {
        let answer = format!("wakeline.setConsent({answer}); return wakeline.flush()");
        browser.run(&answer).await?;
    }
    assert_eq!(browser.run(STORED).await?, 0);
    let said = browser.run("return said").await?;
    assert!(
        said[0]
            .as_str()
            .is_some_and(|said| said.contains("granted, denied or pending")),
        "{said}"
    );
    assert_eq!(site.labels(), [""; 0]);
    browser.run("wakeline.setConsent('granted')").await?;
    site.event("page_view").await?;
    browser.close().await
}

#[tokio::test]
async fn who_signs_out_before_the_main_module_is_there_is_another_visitor() -> anyhow::Result<()> {
    let script = "wakeline.identify('u1'); wakeline.track('in'); wakeline.group('g1'); wakeline.alias('u1', 'old-id');
        wakeline.reset(); wakeline.track('out'); wakeline.identify('u2'); wakeline.track('next')";
    for persistence in ["storage", "cookie"] {
        let attributes = format!("data-persistence={persistence}");
        let again = format!("TAG {attributes}></script>");
        let site = Site::start(&[("/", &early(&attributes, script)), ("/again", &again)]).await?;
        let browser = site.open("/").await?;
        let next = site.event("next").await?;
        let (signed_in, out) = (site.event("in").await?, site.event("out").await?);
        assert_eq!(signed_in.user, "u1");
        assert_eq!(site.event("group").await?.visitor, signed_in.visitor);
        assert_eq!((out.user.as_str(), next.user.as_str()), ("", "u2"));
        assert_ne!(out.visitor, signed_in.visitor);
        assert_eq!(out.visitor, next.visitor);
        assert!(
            site.events()
                .iter()
                .any(|event| event.visitor == "old-id" && event.user == "u1")
        );
        browser.page.goto(&format!("{}/again", site.origin)).await?;
        let view = eventually("the next page's view", LIMIT, async || {
            let mut events = site.events().into_iter();
            Ok(events.find(|event| event.url.ends_with("/again")))
        })
        .await?;
        assert_eq!((view.visitor, view.user.as_str()), (out.visitor, ""));
        browser.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_browser_that_objects_is_obeyed_unless_the_page_knows_better() -> anyhow::Result<()> {
    let objects = |how: &str| {
        format!("<script>Object.defineProperty(Navigator.prototype, {how} }})</script>")
    };
    let control = objects("'globalPrivacyControl', { get: () => true");
    let track = objects("'doNotTrack', { get: () => '1'");
    let site = Site::start(&[
        ("/control", &format!("{control}TAG></script>")),
        ("/track", &format!("{track}TAG></script>")),
        (
            "/agreed",
            &format!("{control}TAG data-consent=granted></script>"),
        ),
    ])
    .await?;
    let browser = site.open("/control").await?;
    for path in ["/control", "/track"] {
        browser.page.goto(&format!("{}{path}", site.origin)).await?;
        browser
            .run("wakeline.track('objected'); return wakeline.flush()")
            .await?;
        assert_eq!(browser.run(STORED).await?, 0, "{path}");
    }
    browser
        .page
        .goto(&format!("{}/agreed", site.origin))
        .await?;
    assert!(site.event("page_view").await?.url.ends_with("/agreed"));
    assert_eq!(site.labels(), ["page_view"]);
    browser.close().await
}

#[tokio::test]
async fn subdomains_share_a_visitor_by_a_cookie() -> anyhow::Result<()> {
    // Browsers look for names under `localhost` here, and keep a cookie for all under `shop.localhost`.
    let page = "<script defer src=/w/sdk/wakeline.js data-key=wk_test data-persistence=cookie data-domain=shop.localhost></script>";
    let site = Site::start(&[("/", page)]).await?;
    let port = site.origin.rsplit(':').next().unwrap_or_default();
    let browser = site.open("/nowhere").await?;
    for (number, subdomain) in ["www", "basket"].iter().enumerate() {
        let url = format!("http://{subdomain}.shop.localhost:{port}/");
        browser.page.goto(&url).await?;
        eventually("its view", LIMIT, async || {
            Ok((site.events().len() == number + 1).then_some(()))
        })
        .await?;
    }
    let events = site.events();
    assert_eq!(events[0].visitor, events[1].visitor);
    assert_ne!(events[0].visitor, "");
    browser.close().await
}

/// `tab.id` of the last event of this name.
async fn tab_of(site: &Site, name: &str) -> anyhow::Result<String> {
    let id = site.event(name).await?.property("tab.id").to_owned();
    assert_eq!(id.len(), 8, "{:?}", site.events());
    Ok(id)
}

#[tokio::test]
async fn a_tab_is_the_same_from_page_to_page_and_its_copy_is_another_one() -> anyhow::Result<()> {
    let page = "TAG data-tab=true></script><script>
        addEventListener('DOMContentLoaded', () => wakeline.track(location.search.slice(1)))</script>";
    let site = Site::start(&[("/", page)]).await?;
    let browser = site.open("/?first").await?;
    let first = tab_of(&site, "first").await?;
    assert_eq!(tab_of(&site, "page_view").await?, first);
    browser
        .page
        .goto(&format!("{}/?second", site.origin))
        .await?;
    assert_eq!(tab_of(&site, "second").await?, first);
    // Its opener's storage is copied.
    let tab = browser.page.window().await?;
    browser.run("window.open('/?copy')").await?;
    assert_ne!(tab_of(&site, "copy").await?, first);
    browser.page.new_window(true).await?;
    let windows = browser.page.windows().await?;
    let new = windows.last().cloned().context("a new tab")?;
    browser.page.switch_to_window(new).await?;
    browser.page.goto(&format!("{}/?new", site.origin)).await?;
    let new = tab_of(&site, "new").await?;
    assert_ne!(new, first);
    assert_ne!(new, tab_of(&site, "copy").await?);
    browser.page.switch_to_window(tab).await?;
    browser.run("location.search = 'third'").await?;
    assert_eq!(tab_of(&site, "third").await?, first);
    browser.close().await
}

#[tokio::test]
async fn a_tab_has_no_name_where_nothing_may_be_stored() -> anyhow::Result<()> {
    let site = Site::start(&[("/", "TAG data-tab=true data-persistence=memory></script>")]).await?;
    let browser = site.open("/").await?;
    assert_eq!(site.event("page_view").await?.property("tab.id"), "");
    assert_eq!(browser.run("return sessionStorage.length").await?, 0);
    browser.close().await
}

#[tokio::test]
async fn a_cookieless_page_stores_nothing_and_names_nobody() -> anyhow::Result<()> {
    let site = Site::start(&[("/", "TAG data-persistence=none></script>")]).await?;
    let browser = site.open("/").await?;
    browser.run("wakeline.track('seen')").await?;
    let seen = site.event("seen").await?;
    assert_eq!(seen.visitor, "");
    assert_eq!(browser.run(STORED).await?, 0);
    browser.close().await
}

#[tokio::test]
async fn a_cookie_keeps_the_visitor_when_storage_is_lost() -> anyhow::Result<()> {
    let site = Site::start(&[("/", "TAG data-persistence=cookie></script>")]).await?;
    let browser = site.open("/").await?;
    browser.run("wakeline.track('first')").await?;
    let first = site.event("first").await?;
    browser
        .run("localStorage.clear(); location.reload()")
        .await?;
    eventually("the second view", LIMIT, async || {
        Ok((site.events().len() == 3).then_some(()))
    })
    .await?;
    assert!(
        site.events()
            .iter()
            .all(|event| event.visitor == first.visitor)
    );
    browser.close().await
}

#[tokio::test]
async fn signing_in_grouping_and_signing_out_are_of_the_right_persons() -> anyhow::Result<()> {
    let site = Site::start(&[("/", "TAG></script>")]).await?;
    let browser = site.open("/").await?;
    browser
        .run(
            "wakeline.identify('u1', { plan: 'pro' }); wakeline.group('g1', { size: 3 }); wakeline.set({ theme: 'dark' });
            wakeline.track('in'); wakeline.alias('u1', 'old-id')",
        )
        .await?;
    site.event("in").await?;
    eventually("the alias", LIMIT, async || {
        Ok(site
            .events()
            .into_iter()
            .find(|event| event.visitor == "old-id" && event.user == "u1"))
    })
    .await?;
    browser
        .run("wakeline.reset(); wakeline.track('out')")
        .await?;
    let out = site.event("out").await?;
    let signed_in = site.event("in").await?;
    assert_eq!((signed_in.user.as_str(), out.user.as_str()), ("u1", ""));
    assert_ne!(out.visitor, signed_in.visitor);
    assert_eq!(signed_in.property("theme"), "dark");
    assert_eq!(site.event("identify").await?.property("plan"), "pro");
    let group = site.event("group").await?;
    assert_eq!(
        (group.property("group.id"), group.property("size")),
        ("g1", "3")
    );
    browser.close().await
}

#[tokio::test]
async fn a_link_to_another_domain_carries_the_visitor_once() -> anyhow::Result<()> {
    let there = Site::start(&[("/", "TAG data-link-domains=localhost></script>")]).await?;
    let port = there.origin.rsplit(':').next().unwrap_or_default();
    // The same server by another name is another origin, with a storage of its own.
    let page = format!(
        "TAG data-link-domains=localhost></script><a href=http://localhost:{port}/>There</a>"
    );
    let here = Site::start(&[("/", &page)]).await?;
    let browser = here.open("/").await?;
    let first = here.event("page_view").await?;
    // The module that decorates is there once events are accepted.
    browser.run("document.querySelector('a').click()").await?;
    let second = there.event("page_view").await?;
    assert_eq!(second.visitor, first.visitor);
    assert!(!second.url.contains("_wl"), "{}", second.url);
    let address = browser.page.current_url().await?;
    assert_eq!(address.query(), None);
    browser.close().await
}
