//! Hosts that send made-up visits to be seen in reports (referrer spam).

use std::collections::HashSet;
use std::sync::LazyLock;

use url::{Host, Url};

static HOSTS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    include_str!("spam.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect()
});

/// Whether the referrer is known for made-up visits.
pub fn is_spam(referrer: &str) -> bool {
    let Ok(url) = Url::parse(referrer) else {
        return false;
    };
    let Some(Host::Domain(host)) = url.host() else {
        return false;
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let mut rest = host.as_str();
    loop {
        if HOSTS.contains(rest) {
            return true;
        }
        match rest.split_once('.') {
            Some((_, parent)) => rest = parent,
            None => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::is_spam;

    #[test]
    fn spam_is_known_by_its_host_and_below() {
        assert!(is_spam("http://semalt.com/project"));
        assert!(is_spam("https://www.semalt.com/"));
        assert!(!is_spam("https://notsemalt.com/"));
        assert!(!is_spam("") && !is_spam("semalt.com"));
    }

    proptest! {
        #[test]
        fn no_referrer_panics(referrer in "(https?://|android-app://)?[a-z.]{0,20}[/?\\PC]{0,20}") {
            is_spam(&referrer);
        }
    }
}
