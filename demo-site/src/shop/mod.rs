//! The shop: a listing, product pages, a cart, a checkout and a thank-you, with the SDK put in as any customer would.

mod catalogue;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use maud::{DOCTYPE, Markup, PreEscaped, html};

pub(crate) use catalogue::PRODUCTS;
use catalogue::{Product, euros};

/// What the pages have to know.
pub struct Shop {
    /// The site's write key, for the SDK's script tag.
    pub write_key: String,
    /// Where the dashboard is, for the link at the top.
    pub dashboard: String,
}

/// The shop's pages, without the collector.
pub fn router(shop: Shop) -> Router {
    Router::new()
        .route("/", get(listing))
        .route("/p/{slug}", get(product))
        .route("/cart", get(cart))
        .route("/checkout", get(checkout))
        .route("/thank-you", get(thank_you))
        .route(
            "/shop.css",
            get(async || asset("text/css", include_str!("../../shop/shop.css"))),
        )
        .route(
            "/shop.js",
            get(async || asset("text/javascript", include_str!("../../shop/shop.js"))),
        )
        .route(
            "/favicon.svg",
            get(async || asset("image/svg+xml", include_str!("../../shop/favicon.svg"))),
        )
        .fallback(not_found)
        .with_state(Arc::new(shop))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    (
        [
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, "no-cache"),
        ],
        text,
    )
        .into_response()
}

/// The frame of every page. The two scripts at the end of `head` are all there is to using Wakeline.
fn page(shop: &Shop, title: &str, data: Option<&Product>, content: &Markup) -> Html<String> {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Alder" }
                meta name="description" content="Alder, the Wakeline demo shop: things for slow mornings.";
                link rel="icon" href="/favicon.svg";
                link rel="stylesheet" href="/shop.css";
                script defer src="/w/sdk/wakeline.js" data-key=(shop.write_key) {}
                script defer src="/shop.js" {}
            }
            body data-sku=[data.map(|p| p.sku)] data-name=[data.map(|p| p.name)] data-price=[data.map(|p| p.price)] {
                a.skip href="#main" { "Skip to content" }
                p.ribbon {
                    "A demo shop. Every click shows on the "
                    a href=(shop.dashboard) target="_blank" rel="noopener" { "Wakeline dashboard" }
                    "."
                }
                header.top {
                    a.brand href="/" { (leaf()) "Alder" }
                    nav aria-label="Shop" {
                        a href="/" { "Shop" }
                        a href="/cart" { "Cart " span #cart-count .count aria-label="items in the cart" { "0" } }
                    }
                }
                main #main { (content) }
                footer { "Alder sells nothing: it is here to be clicked through." }
            }
        }
    };
    Html(markup.into_string())
}

fn leaf() -> PreEscaped<&'static str> {
    PreEscaped(
        r#"<svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true"><path d="M5 20C4 10 10 4 20 4c0 10-6 16-15 16zm0 0c3-6 6-9 10-11" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round"/></svg>"#,
    )
}

fn picture(product: &Product) -> Markup {
    html! {
        div class={"picture " (product.tone)} {
            svg viewBox="0 0 200 200" role="img" aria-label=(product.name) { (PreEscaped(product.picture)) }
        }
    }
}

async fn listing(State(shop): State<Arc<Shop>>) -> Html<String> {
    let content = html! {
        section.hero {
            h1 { "Things for slow mornings" }
            p { "Made by few hands, in small numbers, to be used every day." }
        }
        ul.grid {
            @for product in &PRODUCTS {
                li.card {
                    a href={"/p/" (product.slug)} {
                        (picture(product))
                        span.name { (product.name) }
                        span.line { (product.line) }
                        span.price { (euros(product.price)) }
                    }
                }
            }
        }
    };
    page(&shop, "Shop", None, &content)
}

async fn product(State(shop): State<Arc<Shop>>, Path(slug): Path<String>) -> Response {
    let Some(product) = catalogue::find(&slug) else {
        return not_found(State(shop)).await;
    };
    let content = html! {
        article.product {
            (picture(product))
            div {
                h1 { (product.name) }
                p.line { (product.line) }
                p.price { (euros(product.price)) }
                p { (product.text) }
                button.primary type="button" id="add" { "Add to cart" }
                p #added .quiet role="status" {}
                a.quiet href="/" { "← All things" }
            }
        }
    };
    page(&shop, product.name, Some(product), &content).into_response()
}

async fn cart(State(shop): State<Arc<Shop>>) -> Html<String> {
    let content = html! {
        h1 { "Your cart" }
        div #lines {}
        p.total { "Total " strong #total { (euros(0)) } }
        div.actions {
            a.quiet href="/" { "← Keep looking" }
            a.primary #to-checkout href="/checkout" { "Check out" }
        }
    };
    page(&shop, "Cart", None, &content)
}

async fn checkout(State(shop): State<Arc<Shop>>) -> Html<String> {
    let content = html! {
        h1 { "Check out" }
        form #checkout .checkout {
            label { "Name" input name="name" autocomplete="off" value="Robin Alder" required; }
            label { "Street and town" input name="address" autocomplete="off" value="1 Mill Lane, Sallow" required; }
            fieldset {
                legend { "Delivery" }
                label.inline { input type="radio" name="delivery" value="post" checked; "By post, three days" }
                label.inline { input type="radio" name="delivery" value="bicycle"; "By bicycle, tomorrow" }
            }
            p.quiet { "Nothing is sent and nothing is paid. The fields stay on this page." }
            p.total { "To pay " strong #total { (euros(0)) } }
            button.primary type="submit" { "Place the order" }
        }
    };
    page(&shop, "Check out", None, &content)
}

async fn thank_you(State(shop): State<Arc<Shop>>) -> Html<String> {
    let content = html! {
        section.hero {
            h1 { "Thank you" }
            p { "Your order " strong #order-id {} " is on its way to nowhere in particular." }
            a.primary href="/" { "Back to the shop" }
        }
    };
    page(&shop, "Thank you", None, &content)
}

async fn not_found(State(shop): State<Arc<Shop>>) -> Response {
    let content = html! {
        section.hero {
            h1 { "Nothing here" }
            p { "This page does not exist." }
            a.primary href="/" { "Back to the shop" }
        }
    };
    (
        StatusCode::NOT_FOUND,
        page(&shop, "Not found", None, &content),
    )
        .into_response()
}
