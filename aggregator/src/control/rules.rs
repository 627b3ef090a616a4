//! A site's settings as types that cannot hold a wrong value.

use std::{fmt, str::FromStr};

use jiff::tz::TimeZone;

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSetting {
    /// Not a bare host name.
    #[error("domain {given:?}: {why}")]
    Domain {
        /// As given.
        given: String,
        /// What a domain is.
        why: &'static str,
    },
    /// Not in the time zone database.
    #[error("timezone {0:?} is not an IANA time zone such as Europe/Berlin or UTC")]
    Timezone(String),
    /// Not in ISO 4217.
    #[error("currency {0:?} is not an ISO 4217 code such as USD or EUR")]
    Currency(String),
    /// Not a name that a tracker's client has for a site.
    #[error(
        "alias {0:?} is not TRACKER:ID, such as plausible:shop.example; trackers: {list}",
        list = wakeline_proto::TRACKERS.join(", ")
    )]
    Alias(String),
    /// Not what apps are called.
    #[error(
        "app {0:?} is not the id of an app, such as com.example.shop: letters, digits, `.`, `-`, `_`, at most 128"
    )]
    App(String),
    /// Out of bounds.
    #[error("session gap {0:?} is not a whole number of minutes from 1 to 240")]
    SessionGap(String),
}

macro_rules! text_setting {
    ($name:ident) => {
        impl $name {
            /// As stored and shown.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

/// A site's host name, in lower case and punycode: `example.com`, `localhost`, `192.0.2.1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain(String);
text_setting!(Domain);

impl FromStr for Domain {
    type Err = InvalidSetting;

    fn from_str(given: &str) -> Result<Self, InvalidSetting> {
        let refuse = |why| InvalidSetting::Domain {
            given: given.to_owned(),
            why,
        };
        if given.contains("://") || given.contains(['/', '?', '#', '@']) {
            return Err(refuse("give the host name only, without scheme or path"));
        }
        if given.contains(':') {
            return Err(refuse("give the host name only, without a port"));
        }
        // Digits alone mean a site's id wherever a site is named.
        if given.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refuse("a host name has letters, such as example.com"));
        }
        let host = url::Host::parse(given)
            .map_err(|_| refuse("this is not a host name such as example.com"))?
            .to_string();
        let labels_fit = host
            .split('.')
            .all(|label| (1..=63).contains(&label.len()) && !label.starts_with('-'));
        if host.len() > 253 || !labels_fit {
            return Err(refuse("this is not a host name such as example.com"));
        }
        Ok(Self(host))
    }
}

/// A time zone of the IANA database.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

impl Zone {
    /// IANA name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    pub(super) fn into_time_zone(self) -> TimeZone {
        self.zone
    }
}

impl FromStr for Zone {
    type Err = InvalidSetting;

    fn from_str(given: &str) -> Result<Self, InvalidSetting> {
        let refuse = || InvalidSetting::Timezone(given.to_owned());
        let zone = wakeline_engine::timezone(given).ok_or_else(refuse)?;
        // The database's own spelling: names are found whatever their case.
        let name = zone.iana_name().ok_or_else(refuse)?.to_owned();
        Ok(Self { name, zone })
    }
}

/// A currency of ISO 4217, in capitals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Currency(String);
text_setting!(Currency);

/// ISO 4217's currencies in use, without funds, metals and test codes.
const CURRENCIES: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP \
    BYN BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF \
    GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD \
    LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR \
    PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY \
    TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG";

impl FromStr for Currency {
    type Err = InvalidSetting;

    fn from_str(given: &str) -> Result<Self, InvalidSetting> {
        let code = given.to_ascii_uppercase();
        if CURRENCIES
            .split_ascii_whitespace()
            .any(|known| known == code)
        {
            Ok(Self(code))
        } else {
            Err(InvalidSetting::Currency(given.to_owned()))
        }
    }
}

/// What an app calls itself: its application id (Android), bundle id (Apple), or a name of your own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppId(String);
text_setting!(AppId);

impl FromStr for AppId {
    type Err = InvalidSetting;

    fn from_str(given: &str) -> Result<Self, InvalidSetting> {
        let of_id = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if (1..=128).contains(&given.len()) && given.bytes().all(of_id) {
            Ok(Self(given.to_owned()))
        } else {
            Err(InvalidSetting::App(given.to_owned()))
        }
    }
}

/// Minutes without an event that end a visit, from 1 to 240.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionGap(u32);

impl SessionGap {
    /// In minutes.
    pub const fn minutes(self) -> u32 {
        self.0
    }
}

impl FromStr for SessionGap {
    type Err = InvalidSetting;

    fn from_str(given: &str) -> Result<Self, InvalidSetting> {
        match given.parse() {
            Ok(minutes @ 1..=240) => Ok(Self(minutes)),
            _ => Err(InvalidSetting::SessionGap(given.to_owned())),
        }
    }
}
