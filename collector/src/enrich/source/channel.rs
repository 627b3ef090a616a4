//! Channels by the rules of GA4's default channel group (<https://support.google.com/analytics/answer/9756891>), with a channel
//! of AI assistants before referrals. What GA4 calls "Unassigned" is a referral here.

use super::Marks;
use super::table::Kind;

/// The channel of a visit whose source is of `kind`; `referred`: another site brought it.
pub(super) fn channel(kind: Option<Kind>, marks: &Marks, referred: bool) -> &'static str {
    let medium = marks.medium.to_ascii_lowercase();
    let campaign = marks.campaign.to_ascii_lowercase();
    let source = marks.source.to_ascii_lowercase();
    let is = |kinds: &[&str]| kinds.contains(&medium.as_str());
    let paid = medium.contains("cp") && !medium.contains("cpm")
        || is(&["ppc", "retargeting"])
        || medium.starts_with("paid");
    let shop = kind == Some(Kind::Shopping) || campaign_shops(&campaign);
    let mail = ["email", "e-mail", "e_mail", "e mail"];
    if campaign.contains("cross-network") {
        "Cross-network"
    } else if paid {
        match kind {
            _ if shop => "Paid Shopping",
            Some(Kind::Search) => "Paid Search",
            Some(Kind::Social) => "Paid Social",
            Some(Kind::Video) => "Paid Video",
            _ => "Paid Other",
        }
    } else if is(&["display", "banner", "expandable", "interstitial", "cpm"]) {
        "Display"
    } else if mail.contains(&source.as_str()) || is(&mail) {
        "Email"
    } else if is(&["affiliate", "affiliates"]) {
        "Affiliates"
    } else if is(&["audio"]) {
        "Audio"
    } else if source == "sms" || is(&["sms"]) {
        "SMS"
    } else if medium.ends_with("push")
        || medium.contains("mobile")
        || medium.contains("notification")
        || source == "firebase"
    {
        "Mobile Push Notifications"
    } else if is(&[
        "social",
        "social-network",
        "social-media",
        "sm",
        "social network",
        "social media",
    ]) {
        "Organic Social"
    } else if medium.contains("video") {
        "Organic Video"
    } else if let (Some((_, channel)), true) =
        (marks.click, medium.is_empty() && marks.source.is_empty())
    {
        channel
    } else {
        match kind {
            _ if shop => "Organic Shopping",
            Some(Kind::Social) => "Organic Social",
            Some(Kind::Video) => "Organic Video",
            Some(Kind::Search) => "Organic Search",
            Some(Kind::Mail) => "Email",
            Some(Kind::Assistant) => "AI Assistants",
            _ if is(&["organic"]) => "Organic Search",
            _ if referred || !marks.is_empty() => "Referral",
            _ => "Direct",
        }
    }
}

/// GA4's `^(.*(([^a-df-z]|^)shop|shopping).*)$`: a word that begins with "shop", not "workshop".
fn campaign_shops(campaign: &str) -> bool {
    campaign.contains("shopping")
        || campaign.match_indices("shop").any(|(at, _)| {
            let before = campaign[..at].chars().next_back();
            before.is_none_or(|before| !before.is_ascii_lowercase() || before == 'e')
        })
}
