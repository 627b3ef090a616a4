//! The reports as a merchant uses them: filtered, compared, searched, saved, shared; and without barriers.

use axum::{response::Html, routing::get};
use fantoccini::Locator;
use fantoccini::key::Key;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use wakeline_testbed::{Browser, Demo, eventually};

use crate::browser::shows;
use crate::pages::{LIMIT, has_no_barriers, open, press, says, send};

/// Three visitors, of whom two came by a newsletter, one of these ordered, and the third looked for what is not there.
async fn traffic(demo: &Demo) -> anyhow::Result<()> {
    let view = |visitor: &str, path: &str| json!({"type": "page_view", "visitor": visitor, "url": format!("https://shop.example{path}")});
    for event in [
        view(
            "ada",
            "/sale?utm_source=letter&utm_medium=email&utm_campaign=spring",
        ),
        view("ada", "/p/lamp"),
        json!({"type": "order", "visitor": "ada", "order": {"id": "A-1", "currency": "EUR", "value": 3600, "items": []}}),
        view(
            "bob",
            "/sale?utm_source=letter&utm_medium=email&utm_campaign=spring",
        ),
        view("eve", "/attic"),
        json!({"type": "custom", "name": "not_found", "visitor": "eve", "interactive": false, "url": "https://shop.example/attic"}),
        json!({"type": "custom", "name": "trial", "visitor": "eve", "properties": {"plan": "pro"}}),
    ] {
        let refused = send(demo, &event).await?;
        anyhow::ensure!(refused.is_empty(), "{refused:?}");
    }
    eventually("all is counted", LIMIT, || async {
        Ok((demo.totals("all").await?[3] == 7).then_some(()))
    })
    .await
}

/// The part of the address after the question mark, as a person reads it.
async fn question(dashboard: &Browser) -> anyhow::Result<String> {
    let search = dashboard
        .run("return decodeURIComponent(location.search)")
        .await?;
    Ok(search.as_str().unwrap_or_default().to_owned())
}

async fn asks(dashboard: &Browser, wanted: &str) -> anyhow::Result<()> {
    eventually(wanted, LIMIT, || async {
        Ok((question(dashboard).await? == wanted).then_some(()))
    })
    .await?;
    Ok(())
}

/// Presses keys as on a keyboard, wherever the focus is.
async fn types(dashboard: &Browser, keys: &str) -> anyhow::Result<()> {
    let focused = dashboard.page.active_element().await?;
    focused.send_keys(keys).await?;
    Ok(())
}

/// Clicks what a selector finds, once it is there.
async fn click(dashboard: &Browser, selector: &str) -> anyhow::Result<()> {
    let found = dashboard.page.wait().at_most(LIMIT);
    found.for_element(Locator::Css(selector)).await?;
    // Lists are drawn anew while figures arrive: found and clicked in one step.
    let script = format!("document.querySelector({}).click()", json!(selector));
    dashboard.run(&script).await?;
    Ok(())
}

/// No barriers, once all that was asked for is shown: what is out of date is pale until then.
async fn is_whole_and_has_no_barriers(dashboard: &Browser) -> anyhow::Result<()> {
    let waits = "return document.querySelector('[aria-busy=true], .figure-value.skeleton, [role=status].skeleton, .splash') !== null";
    eventually("all is shown", LIMIT, || async {
        Ok((dashboard.run(waits).await? == false).then_some(()))
    })
    .await?;
    has_no_barriers(dashboard).await
}

/// The values and the first figures of the list in a panel.
async fn list(dashboard: &Browser, panel: &str) -> anyhow::Result<Value> {
    let script = format!(
        "const panel = document.querySelector('[aria-labelledby={panel}-title]');
        // Only what is in sight is asked for.
        panel?.scrollIntoView({{ block: 'center' }});
        return [...(panel?.querySelectorAll('tbody tr') ?? [])].map((row) =>
            [row.querySelector('.path').textContent, row.querySelector('.number').textContent])"
    );
    dashboard.run(&script).await
}

async fn lists(dashboard: &Browser, panel: &str, wanted: &Value) -> anyhow::Result<()> {
    let seen = std::cell::RefCell::new(Value::Null);
    eventually("a list", LIMIT, || async {
        *seen.borrow_mut() = list(dashboard, panel).await?;
        Ok((*seen.borrow() == *wanted).then_some(()))
    })
    .await
    .map_err(|error| error.context(format!("wanted {wanted}, seen {}", seen.borrow())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_click_on_a_row_filters_everything_and_the_address_says_so() -> anyhow::Result<()> {
    let demo = Demo::start()?;
    traffic(&demo).await?;
    let dashboard = open(&demo, "Report").await?;
    shows(
        &dashboard,
        &[("Visitors", "3"), ("Pageviews", "4"), ("Revenue", "€36.00")],
    )
    .await?;
    click(
        &dashboard,
        "[aria-labelledby=sources-title] a[href*=letter]",
    )
    .await?;
    shows(&dashboard, &[("Visitors", "2"), ("Pageviews", "3")]).await?;
    asks(&dashboard, "?f=is,source,letter").await?;
    lists(
        &dashboard,
        "pages",
        &json!([["/sale", "2"], ["/p/lamp", "1"]]),
    )
    .await?;
    is_whole_and_has_no_barriers(&dashboard).await?;

    // The address is all there is to know.
    dashboard.page.refresh().await?;
    shows(&dashboard, &[("Visitors", "2"), ("Pageviews", "3")]).await?;
    click(&dashboard, "#behaviour-tab-goal").await?;
    asks(&dashboard, "?f=is,source,letter&behaviour=goal").await?;
    lists(
        &dashboard,
        "behaviour",
        &json!([["pageview", "2"], ["order", "1"]]),
    )
    .await?;
    click(
        &dashboard,
        "[aria-labelledby=behaviour-title] a[href*='goal,order']",
    )
    .await?;
    shows(
        &dashboard,
        &[
            ("Converted", "1"),
            ("Conversion rate", "50%"),
            ("Revenue", "€36.00"),
        ],
    )
    .await?;

    // A filter is edited into its opposite.
    click(&dashboard, ".pill-remove[aria-label*=Goal]").await?;
    click(&dashboard, ".pill-text").await?;
    is_whole_and_has_no_barriers(&dashboard).await?;
    dashboard
        .run(
            "const how = document.querySelectorAll('dialog select')[1];
            how.value = 'is_not'; how.dispatchEvent(new Event('change', { bubbles: true }))",
        )
        .await?;
    press(&dashboard, "Apply").await?;
    asks(&dashboard, "?f=is_not,source,letter&behaviour=goal").await?;
    shows(&dashboard, &[("Visitors", "1"), ("Pageviews", "1")]).await?;

    dashboard.page.back().await?;
    asks(&dashboard, "?f=is,source,letter&behaviour=goal").await?;
    shows(&dashboard, &[("Visitors", "2")]).await?;
    types(&dashboard, &Key::Escape.to_string()).await?;
    asks(&dashboard, "?behaviour=goal").await?;
    shows(&dashboard, &[("Visitors", "3")]).await?;
    dashboard.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_choose_the_period_the_comparison_and_the_filter() -> anyhow::Result<()> {
    let demo = Demo::start()?;
    traffic(&demo).await?;
    let dashboard = open(&demo, "Report").await?;
    shows(&dashboard, &[("Visitors", "3")]).await?;
    types(&dashboard, "x").await?;
    asks(&dashboard, "?compare=previous_period").await?;
    says(&dashboard, "none before").await?;
    for (key, period) in [
        ("w", "7d"),
        ("m", "month"),
        ("y", "year"),
        ("l", "12mo"),
        ("t", "30d"),
    ] {
        types(&dashboard, key).await?;
        asks(
            &dashboard,
            &format!("?period={period}&compare=previous_period"),
        )
        .await?;
    }
    types(&dashboard, "d").await?;
    asks(&dashboard, "?compare=previous_period").await?;
    types(&dashboard, &Key::Left.to_string()).await?;
    asks(&dashboard, "?period=yesterday&compare=previous_period").await?;
    shows(&dashboard, &[("Visitors", "0")]).await?;
    types(&dashboard, &Key::Right.to_string()).await?;
    types(&dashboard, "x").await?;
    asks(&dashboard, "").await?;

    types(&dashboard, "?").await?;
    says(&dashboard, "Earlier or later period").await?;
    is_whole_and_has_no_barriers(&dashboard).await?;
    types(&dashboard, &Key::Escape.to_string()).await?;

    // What is typed into the search leads to a filter by a part of the path.
    types(&dashboard, "/").await?;
    click(&dashboard, "dialog input[type=search]").await?;
    dashboard
        .run("document.querySelector('dialog input[type=search]').focus()")
        .await?;
    types(&dashboard, "lam").await?;
    let found = "return [...document.querySelectorAll('.suggestions .path')].map((each) => each.textContent)";
    eventually("the one page with that in it", LIMIT, || async {
        Ok((dashboard.run(found).await? == json!(["/p/lamp"])).then_some(()))
    })
    .await?;
    click(&dashboard, ".suggestions button").await?;
    press(&dashboard, "Apply").await?;
    asks(&dashboard, "?f=is,page,/p/lamp").await?;
    shows(&dashboard, &[("Visitors", "1"), ("Pageviews", "1")]).await?;
    dashboard.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_are_saved_as_a_segment_and_asked_for_by_its_name() -> anyhow::Result<()> {
    let demo = Demo::start()?;
    traffic(&demo).await?;
    let dashboard = open(&demo, "Report").await?;
    click(
        &dashboard,
        "[aria-labelledby=sources-title] a[href*=letter]",
    )
    .await?;
    click(&dashboard, "button[aria-label=Segments]").await?;
    press(&dashboard, "Save these filters…").await?;
    let name = dashboard.page.wait().at_most(LIMIT);
    let name = name
        .for_element(Locator::Css("dialog .range input"))
        .await?;
    is_whole_and_has_no_barriers(&dashboard).await?;
    name.send_keys("Readers").await?;
    press(&dashboard, "Save").await?;
    asks(&dashboard, "?f=is,segment,1").await?;
    dashboard.page.refresh().await?;
    says(&dashboard, "Segment is Readers").await?;
    shows(&dashboard, &[("Visitors", "2"), ("Pageviews", "3")]).await?;

    click(&dashboard, "button[aria-label=Segments]").await?;
    press(&dashboard, "Save these filters…").await?;
    press(&dashboard, "Delete").await?;
    asks(&dashboard, "").await?;
    shows(&dashboard, &[("Visitors", "3")]).await?;
    dashboard.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_searched_and_a_figure_tells_where_it_comes_from() -> anyhow::Result<()> {
    let demo = Demo::start()?;
    traffic(&demo).await?;
    let dashboard = open(&demo, "Report").await?;
    shows(&dashboard, &[("Visitors", "3")]).await?;
    click(
        &dashboard,
        "[aria-labelledby=pages-title] .panel-foot button",
    )
    .await?;
    asks(&dashboard, "?details=pages").await?;
    says(&dashboard, "3 rows").await?;
    is_whole_and_has_no_barriers(&dashboard).await?;
    dashboard
        .run("document.querySelector('dialog input[type=search]').focus()")
        .await?;
    types(&dashboard, "att").await?;
    says(&dashboard, "1 row ").await?;
    let rows = "return [...document.querySelectorAll('.details-rows tbody tr')].map((row) => row.querySelector('.path').textContent)";
    assert_eq!(dashboard.run(rows).await?, json!(["/attic"]));
    click(&dashboard, ".details-rows a.path").await?;
    asks(&dashboard, "?f=is,page,/attic").await?;
    shows(&dashboard, &[("Visitors", "1"), ("Time on page", "–")]).await?;

    click(&dashboard, ".figure-about[aria-label='About Pageviews']").await?;
    says(&dashboard, "yes, to the unit").await?;
    says(&dashboard, "all that has arrived is counted").await?;
    says(&dashboard, "The last 1 of 1 events").await?;
    is_whole_and_has_no_barriers(&dashboard).await?;
    press(&dashboard, "Close").await?;

    // Properties of events, and what was not found.
    types(&dashboard, &Key::Escape.to_string()).await?;
    click(&dashboard, "#behaviour-tab-property").await?;
    let field = dashboard.page.wait().at_most(LIMIT);
    let field = field
        .for_element(Locator::Css(".property-field input"))
        .await?;
    field.send_keys("plan").await?;
    press(&dashboard, "Show").await?;
    lists(
        &dashboard,
        "behaviour",
        &json!([["(none)", "3"], ["pro", "1"]]),
    )
    .await?;
    dashboard
        .run("history.replaceState(null, '', '?behaviour=not_found'); location.reload()")
        .await?;
    lists(&dashboard, "behaviour", &json!([["/attic", "1"]])).await?;
    dashboard.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_view_of_the_report_is_without_barriers_in_light_and_dark() -> anyhow::Result<()> {
    let demo = Demo::start()?;
    traffic(&demo).await?;
    let dashboard = open(&demo, "Report").await?;
    shows(&dashboard, &[("Visitors", "3")]).await?;
    let base = demo
        .dashboard
        .split('#')
        .next()
        .unwrap_or_default()
        .to_owned();
    for view in [
        "?theme=dark",
        "?theme=light&period=7d&compare=year_over_year&match=weekdays",
        "?theme=dark&period=28d&compare=previous_period&f=is,source,letter",
        "?theme=light&view=table",
        "?theme=light&period=realtime",
        "?theme=dark&period=realtime",
        "?theme=light&sources=utm_medium&behaviour=goal&f=is,goal,order",
        "goals",
        "sharing?theme=dark",
    ] {
        dashboard.page.goto(&format!("{base}{view}")).await?;
        dashboard
            .page
            .wait()
            .at_most(LIMIT)
            .for_element(Locator::Css("h1"))
            .await?;
        is_whole_and_has_no_barriers(&dashboard)
            .await
            .map_err(|error| error.context(view.to_owned()))?;
    }
    dashboard.close().await
}

/// A page of another origin that shows an address in a frame.
async fn embedding(address: &str) -> anyhow::Result<String> {
    let html = format!(
        "<!doctype html><title>Intranet</title><iframe src='{address}' width=1200 height=800></iframe>"
    );
    let page = axum::Router::new().route("/", get(async move || Html(html)));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, page).await });
    Ok(format!("http://{address}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_link_shows_the_report_as_it_happens_until_it_is_revoked() -> anyhow::Result<()> {
    let demo = Demo::start()?;
    traffic(&demo).await?;
    let dashboard = open(&demo, "Sharing").await?;
    let name = dashboard.page.wait().at_most(LIMIT);
    name.for_element(Locator::Css("#link-name"))
        .await?
        .send_keys("Board")
        .await?;
    // The page that embeds it has to be there before the link that names it, and the link before what it shows.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let intranet = format!("http://{}", listener.local_addr()?);
    let embed = dashboard.page.find(Locator::Css("#link-embed")).await?;
    embed.send_keys(&intranet).await?;
    press(&dashboard, "Make link").await?;
    says(&dashboard, "“Board” is made.").await?;
    let address = dashboard
        .run("return document.querySelector('.link-url').href")
        .await?;
    let address = address.as_str().unwrap_or_default().to_owned();
    let html = format!(
        "<!doctype html><title>Intranet</title><iframe src='{address}?theme=dark' width=1200 height=800></iframe>"
    );
    let page = axum::Router::new().route("/", get(async move || Html(html)));
    tokio::spawn(async move { axum::serve(listener, page).await });

    let guest = Browser::start(1280, 900).await?;
    guest.page.goto(&address).await?;
    shows(&guest, &[("Visitors", "3"), ("Revenue", "€36.00")]).await?;
    let text = guest.text().await?;
    for absent in ["Ledger", "Rules", "Live events", "Sign out"] {
        assert!(!text.contains(absent), "{absent} is in:\n{text}");
    }
    is_whole_and_has_no_barriers(&guest).await?;
    click(&guest, "[aria-labelledby=sources-title] a[href*=letter]").await?;
    shows(&guest, &[("Visitors", "2")]).await?;
    types(&guest, &Key::Escape.to_string()).await?;
    let event = json!({"type": "page_view", "visitor": "new", "url": "https://shop.example/"});
    send(&demo, &event).await?;
    shows(&guest, &[("Visitors", "4")]).await?;

    guest.page.goto(&intranet).await?;
    guest.page.enter_frame(0).await?;
    shows(&guest, &[("Visitors", "4")]).await?;
    guest.page.enter_parent_frame().await?;
    // Nobody else may show it.
    guest.page.goto(&embedding(&address).await?).await?;
    guest.page.enter_frame(0).await?;
    assert_eq!(
        guest
            .run("return document.querySelectorAll('.figure').length")
            .await?,
        0
    );
    guest.page.enter_parent_frame().await?;

    guest.page.goto(&address).await?;
    shows(&guest, &[("Visitors", "4")]).await?;
    press(&dashboard, "Revoke").await?;
    says(&dashboard, "does not work any more").await?;
    says(&guest, "This link does not work any more").await?;
    guest.page.refresh().await?;
    says(&guest, "This link does not work any more").await?;
    guest.close().await?;
    dashboard.close().await
}
