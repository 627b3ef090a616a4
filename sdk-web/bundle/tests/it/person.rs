//! Who events are of, and what is kept on the device.

use wakeline_testbed::eventually;

use crate::site::{LIMIT, Site};

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
    // Until the main module is there, which a flush waits for, answers wait with the calls.
    browser.run("return wakeline.flush()").await?;
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
    assert_eq!(site.labels(), ["agreed", "again"]);
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
