use super::{Control, ControlError, KeyKind, NewSite};

pub(super) fn control() -> (tempfile::TempDir, Control) {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::open(&folder.path().join("control.sqlite")).unwrap();
    (folder, control)
}

pub(super) fn site(domain: &str) -> NewSite {
    NewSite {
        domain: domain.parse().unwrap(),
        timezone: "Europe/Berlin".parse().unwrap(),
        currency: "eur".parse().unwrap(),
        session_gap: "30".parse().unwrap(),
    }
}

#[test]
fn a_new_site_has_a_key_of_each_kind_and_is_found_by_id_and_domain() {
    let (_folder, control) = control();
    let made = control.create_site(&site("Shop.Example")).unwrap();
    let snapshot = control.snapshot();
    assert_eq!(made.site.id, 1);
    assert_eq!(snapshot.find_site("1").unwrap().domain, "shop.example");
    assert_eq!(snapshot.find_site("SHOP.example").unwrap().id, 1);
    assert!(snapshot.find_site("2").is_none());
    assert_eq!(snapshot.site(1).unwrap().currency, "EUR");
    let kinds: Vec<_> = snapshot
        .keys
        .iter()
        .map(|key| (key.key.as_str(), key.site, key.kind))
        .collect();
    assert_eq!(
        kinds,
        [
            (made.write_key.as_str(), 1, KeyKind::Write),
            (made.server_key.as_str(), 1, KeyKind::Server)
        ]
    );
    assert!(made.write_key.starts_with("wk_") && made.write_key.len() == 35);
    assert!(made.server_key.starts_with("sk_") && made.server_key.len() == 35);
}

#[test]
fn what_was_changed_is_there_after_opening_again() {
    let (folder, control) = control();
    let made = control.create_site(&site("a.example")).unwrap();
    let (token, secret) = control.create_token("ci").unwrap();
    let session = control.open_session(token.id, 1_000).unwrap();
    let version = control.snapshot().version;
    drop(control);

    let control = Control::open(&folder.path().join("control.sqlite")).unwrap();
    assert_eq!(control.snapshot().version, version);
    assert_eq!(control.snapshot().keys[0].key, made.write_key);
    assert_eq!(control.caller_by_token(&secret).unwrap().token, token.id);
    assert_eq!(
        control.caller_by_session(&session, 2_000).unwrap().name,
        "ci"
    );
}

#[test]
fn each_change_publishes_a_higher_version_to_watchers() {
    let (_folder, control) = control();
    let mut watch = control.watch();
    let before = watch.borrow_and_update().version;
    let made = control.create_site(&site("a.example")).unwrap();
    assert!(watch.has_changed().unwrap());
    assert_eq!(watch.borrow_and_update().version, before + 1);
    control.revoke_key(&made.write_key).unwrap();
    let after = watch.borrow_and_update().clone();
    assert_eq!(after.version, before + 2);
    assert!(after.keys.iter().all(|key| key.key == made.server_key));
}

#[test]
fn a_refused_change_changes_nothing() {
    let (_folder, control) = control();
    control.create_site(&site("a.example")).unwrap();
    let second = control.create_site(&site("b.example")).unwrap().site;
    let version = control.snapshot().version;
    let taken = "a.example".parse().unwrap();
    assert!(matches!(
        control.create_site(&site("a.example")),
        Err(ControlError::DomainTaken(_))
    ));
    assert!(matches!(
        control.update_site(second.id, Some(&taken), None),
        Err(ControlError::DomainTaken(_))
    ));
    assert!(matches!(
        control.revoke_key("wk_none"),
        Err(ControlError::NoKey(_))
    ));
    assert!(matches!(
        control.create_key(9, KeyKind::Write, &[]),
        Err(ControlError::NoSite(_))
    ));
    assert_eq!(control.snapshot().version, version);
    assert_eq!(control.snapshot().sites[1].domain, "b.example");
}

#[test]
fn a_site_can_take_another_domain_and_currency() {
    let (_folder, control) = control();
    control.create_site(&site("a.example")).unwrap();
    let domain = "b.example".parse().unwrap();
    let currency = "jpy".parse().unwrap();
    let changed = control
        .update_site(1, Some(&domain), Some(&currency))
        .unwrap();
    assert_eq!(
        (changed.domain.as_str(), changed.currency.as_str()),
        ("b.example", "JPY")
    );
    // Its own domain is not taken.
    control.update_site(1, Some(&domain), None).unwrap();
}

#[test]
fn sessions_end_by_time_by_sign_out_and_with_their_token() {
    let (_folder, control) = control();
    control.create_token("first").unwrap();
    let (token, secret) = control.create_token("second").unwrap();
    let now = 1_000;
    let open = || control.open_session(token.id, now).unwrap();
    let (kept, closed) = (open(), open());
    assert!(
        control
            .caller_by_session(&kept, now + super::SESSION_LIFETIME_MS)
            .is_none()
    );
    control.close_session(&closed).unwrap();
    assert!(control.caller_by_session(&closed, now).is_none());
    assert!(control.caller_by_session(&kept, now).is_some());
    control.revoke_token(token.id).unwrap();
    assert!(control.caller_by_session(&kept, now).is_none());
    assert!(control.caller_by_token(&secret).is_none());
    assert!(matches!(
        control.revoke_token(1),
        Err(ControlError::LastToken(1))
    ));
}

#[test]
fn a_token_given_twice_is_one_token() {
    let (_folder, control) = control();
    let first = control
        .adopt_token("admin", "given by the operator")
        .unwrap();
    let again = control
        .adopt_token("admin", "given by the operator")
        .unwrap();
    assert_eq!(first, again);
    assert_eq!(control.tokens().len(), 1);
    assert!(control.caller_by_token("given by the operato").is_none());
}

#[test]
fn a_file_of_a_later_version_is_refused() {
    let (folder, control) = control();
    drop(control);
    let path = folder.path().join("control.sqlite");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    assert!(matches!(
        Control::open(&path),
        Err(ControlError::TooNew { found: 99, .. })
    ));
}

#[test]
fn settings_say_what_is_wrong_with_them() {
    use super::{Currency, Domain, SessionGap, Zone};
    for bad in [
        "",
        " ",
        "a b",
        "https://a.example",
        "a.example/x",
        "a.example:80",
        "1",
        "a..b",
        "-a.example",
        ".",
    ] {
        let error = bad.parse::<Domain>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("domain {bad:?}: ")), "{error}");
    }
    assert_eq!(
        "Bücher.example".parse::<Domain>().unwrap().as_str(),
        "xn--bcher-kva.example"
    );
    assert_eq!("127.0.0.1".parse::<Domain>().unwrap().as_str(), "127.0.0.1");
    assert!("localhost".parse::<Domain>().is_ok());
    for bad in ["", "Mars/Olympus", "+02:00", "../etc/passwd"] {
        assert!(bad.parse::<Zone>().is_err(), "{bad}");
    }
    assert_eq!(
        "europe/berlin".parse::<Zone>().unwrap().as_str(),
        "Europe/Berlin"
    );
    for bad in ["", "US", "USDX", "XXX", "U D"] {
        assert!(bad.parse::<Currency>().is_err(), "{bad}");
    }
    for bad in ["", "0", "241", "-1", "1.5", "30 "] {
        assert!(bad.parse::<SessionGap>().is_err(), "{bad}");
    }
    assert_eq!("240".parse::<SessionGap>().unwrap().minutes(), 240);
}

#[test]
fn rules_are_versioned_and_the_newest_are_in_force_after_opening_again() {
    use super::SiteRules;
    let (folder, control) = control();
    let site = control.create_site(&site("a.example")).unwrap().site.id;
    assert_eq!(control.snapshot().rules(site).version, 0);
    let mut rules = SiteRules::default();
    for percent in [50, 20] {
        rules.sample_percent = percent;
        control
            .set_rules(site, &rules, None, "a test", false)
            .unwrap();
    }
    let version = control.snapshot().version;
    drop(control);

    let control = Control::open(&folder.path().join("control.sqlite")).unwrap();
    let saved = control.snapshot().rules(site);
    assert_eq!((saved.version, saved.rules.sample_percent), (2, 20));
    let history = control.rules_history(site).unwrap();
    let percents: Vec<_> = history
        .iter()
        .map(|saved| saved.rules.sample_percent)
        .collect();
    assert_eq!(percents, [20, 50]);
    // A change from an older version changes nothing.
    assert!(matches!(
        control.set_rules(site, &rules, Some(1), "a test", false),
        Err(ControlError::RulesChanged(2))
    ));
    rules.sample_percent = 200;
    assert!(matches!(
        control.set_rules(site, &rules, Some(2), "a test", false),
        Err(ControlError::InvalidRules(_))
    ));
    assert!(matches!(
        control.set_rules(9, &rules, None, "a test", false),
        Err(ControlError::NoSite(_))
    ));
    assert_eq!(control.snapshot().version, version);
}
