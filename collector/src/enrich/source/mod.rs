//! What brought a visitor: source, channel, campaign.
//!
//! A link's own marks come before its referrer; of click ids only the name is kept.

mod channel;
mod table;

use url::{Host, Url};
use wakeline_proto::{limits, lists, v1};

use channel::channel;
use table::TABLE;

/// Parameters of clicks on advertisements, and the channel of a visit that has no other mark.
const CLICK_IDS: &[(&str, &str)] = &[
    ("gclid", "Paid Search"),
    ("gbraid", "Paid Search"),
    ("wbraid", "Paid Search"),
    ("msclkid", "Paid Search"),
    ("yclid", "Paid Search"),
    ("dclid", "Display"),
    ("ttclid", "Paid Social"),
    ("twclid", "Paid Social"),
    ("li_fat_id", "Paid Social"),
    ("epik", "Paid Social"),
    ("rdt_cid", "Paid Social"),
    ("ScCid", "Paid Social"),
    // On all links that leave, paid or not.
    ("fbclid", "Organic Social"),
    ("igshid", "Organic Social"),
    ("mc_cid", "Email"),
    ("mc_eid", "Email"),
    ("_kx", "Email"),
    ("irclickid", "Affiliates"),
];

/// What brought a visitor to `url`; `None` if nothing did, as far as is known. `site`: the site's domain, from which and
/// from below which nobody is brought.
pub(crate) fn acquisition(url: &str, referrer: &str, site: &str) -> Option<v1::Acquisition> {
    let marks = Marks::of(url);
    let page_host = host_of(url).unwrap_or_default();
    let host =
        host_of(referrer).filter(|host| !same_site(host, &page_host) && !same_site(host, site));
    let tag = [&marks.source, &marks.reference]
        .into_iter()
        .find(|tag| !tag.is_empty());
    if host.is_none() && tag.is_none() && marks.is_empty() {
        return None;
    }
    let known = match (tag, &host) {
        (Some(tag), _) => TABLE.of_tag(&tag.to_ascii_lowercase()),
        (None, Some(host)) => TABLE.of_host(host),
        (None, None) => None,
    };
    let source = match (known, tag, &host) {
        (Some(known), ..) => known.name.to_owned(),
        (None, Some(tag), _) => tag.clone(),
        (None, None, Some(host)) => host.strip_prefix("www.").unwrap_or(host).to_owned(),
        (None, None, None) => String::new(),
    };
    let channel = channel(known.map(|known| known.kind), &marks, host.is_some());
    Some(v1::Acquisition {
        channel: lists::code(lists::CHANNELS, channel).unwrap_or_default(),
        source,
        utm_medium: marks.medium,
        utm_source: marks.source,
        utm_campaign: marks.campaign,
        utm_content: marks.content,
        utm_term: marks.term,
        click_id: marks
            .click
            .map_or_else(String::new, |(name, _)| (*name).to_owned()),
    })
}

/// What a link's query says.
#[derive(Debug, Default)]
struct Marks {
    medium: String,
    source: String,
    campaign: String,
    content: String,
    term: String,
    /// `ref` or `source`.
    reference: String,
    click: Option<&'static (&'static str, &'static str)>,
}

impl Marks {
    fn of(url: &str) -> Self {
        let mut marks = Self::default();
        let Some((_, query)) = url.split_once('?') else {
            return marks;
        };
        let query = query.split('#').next().unwrap_or_default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let text = match name.as_ref() {
                "utm_medium" => &mut marks.medium,
                "utm_source" => &mut marks.source,
                "utm_campaign" => &mut marks.campaign,
                "utm_content" => &mut marks.content,
                "utm_term" => &mut marks.term,
                "ref" | "source" => &mut marks.reference,
                other => {
                    if marks.click.is_none() && !value.is_empty() {
                        marks.click = CLICK_IDS.iter().find(|(id, _)| *id == other);
                    }
                    continue;
                }
            };
            if text.is_empty() {
                *text = fitting(value.trim());
            }
        }
        marks
    }

    fn is_empty(&self) -> bool {
        let texts = [
            &self.medium,
            &self.source,
            &self.campaign,
            &self.content,
            &self.term,
            &self.reference,
        ];
        self.click.is_none() && texts.iter().all(|text| text.is_empty())
    }
}

/// At most as long as a name may be.
fn fitting(text: &str) -> String {
    let mut end = text.len().min(limits::MAX_NAME_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// The host of a URL, in lower case and without its port. Of an Android app: its name.
fn host_of(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    match url.host()? {
        Host::Domain("") => None,
        Host::Domain(name) => Some(name.trim_end_matches('.').to_ascii_lowercase()),
        ip => Some(ip.to_string()),
    }
}

fn same_site(host: &str, other: &str) -> bool {
    let bare = |host: &'_ str| host.strip_prefix("www.").unwrap_or(host).to_owned();
    let (host, other) = (bare(host), bare(other));
    let below = |inner: &str, outer: &str| {
        inner
            .strip_suffix(outer)
            .is_some_and(|rest| rest.ends_with('.'))
    };
    !other.is_empty()
        && (host == other
            || below(&host, &other)
            || below(&other, &host) && other.contains('.') && host.contains('.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(url: &str, referrer: &str, expected: &str) {
        let found = acquisition(url, referrer, "shop.example").map_or_else(
            || "-".to_owned(),
            |found| {
                let click = if found.click_id.is_empty() {
                    String::new()
                } else {
                    format!(" ({})", found.click_id)
                };
                format!(
                    "{}: {}{click}",
                    lists::name(lists::CHANNELS, found.channel),
                    found.source
                )
            },
        );
        assert_eq!(found, expected, "{url} from {referrer:?}");
    }

    #[test]
    fn nothing_brings_from_nowhere_or_from_the_site_itself() {
        check("https://shop.example/", "", "-");
        check("https://shop.example/a?q=1#utm_source=x", "", "-");
        check("https://shop.example/", "https://www.shop.example/b", "-");
        check("https://shop.example/", "https://blog.shop.example/", "-");
        check("http://127.0.0.1:8080/", "http://127.0.0.1:8080/x", "-");
        check("https://shop.example/", "nonsense", "-");
    }

    #[test]
    fn referrers_have_names_and_channels() {
        for (referrer, expected) in [
            ("https://www.google.com/", "Organic Search: Google"),
            ("https://google.co.uk/search?q=x", "Organic Search: Google"),
            ("https://mail.google.com/", "Email: Gmail"),
            ("https://gemini.google.com/app", "AI Assistants: Gemini"),
            ("https://chatgpt.com/", "AI Assistants: ChatGPT"),
            (
                "https://l.facebook.com/l.php?u=x",
                "Organic Social: Facebook",
            ),
            ("https://t.co/abc", "Organic Social: X"),
            ("android-app://com.google.android.gm/", "Email: Gmail"),
            ("https://m.youtube.com/watch", "Organic Video: YouTube"),
            ("https://www.amazon.de/dp/1", "Organic Shopping: Amazon"),
            ("https://www.blog.example/post", "Referral: blog.example"),
            (
                "https://googleplex.example/",
                "Referral: googleplex.example",
            ),
            (
                "https://google.evil-site.example/",
                "Referral: google.evil-site.example",
            ),
        ] {
            check("https://shop.example/", referrer, expected);
        }
    }

    #[test]
    fn marks_of_a_link_say_more_than_its_referrer() {
        let of = |query: &str, expected| {
            check(
                &format!("https://shop.example/?{query}"),
                "https://www.google.com/",
                expected,
            );
        };
        of("utm_source=google&utm_medium=cpc", "Paid Search: Google");
        of("gclid=abc", "Paid Search: Google (gclid)");
        of(
            "fbclid=abc&utm_source=fb&utm_medium=paid_social",
            "Paid Social: Facebook (fbclid)",
        );
        of(
            "utm_source=Newsletter&utm_medium=email",
            "Email: Newsletter",
        );
        of(
            "utm_source=partner&utm_medium=affiliate",
            "Affiliates: partner",
        );
        of("utm_source=chatgpt.com", "AI Assistants: ChatGPT");
        of(
            "utm_campaign=summer-shop&utm_source=x1&utm_medium=cpc",
            "Paid Shopping: x1",
        );
        of(
            "utm_campaign=workshop&utm_source=x1&utm_medium=cpc",
            "Paid Other: x1",
        );
        of("utm_campaign=a-cross-network-b", "Cross-network: Google");
        of("utm_medium=display&utm_source=net", "Display: net");
        of("utm_medium=sms&utm_source=a", "SMS: a");
        of(
            "utm_medium=webpush&utm_source=a",
            "Mobile Push Notifications: a",
        );
        of("ref=producthunt", "Organic Social: Product Hunt");
        check("https://shop.example/?gclid=1", "", "Paid Search:  (gclid)");
        check(
            "https://shop.example/?ttclid=1",
            "",
            "Paid Social:  (ttclid)",
        );
    }

    proptest! {
        #[test]
        fn no_url_or_referrer_panics(url in "(https?://)?[a-z.]{0,12}[/?&=%#a-z_\\PC]{0,60}", referrer in "(https?://|android-app://)?[a-z.]{0,20}[/?\\PC]{0,20}") {
            acquisition(&url, &referrer, "shop.example");
        }
    }
}
