use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZeroU64;

use wakeline_client::v1::{self, Consent};
use wakeline_client::{
    BatchHandle, Beacon, Client, Config, Fate, Now, Passed, Person, Reason, Reply, Start, Step,
    Value,
};

/// What [`Core::step`] gives when a batch is to be sent.
const SEND: f64 = -1.0;
/// What [`Core::step`] gives when there is nothing to do before the next call.
const IDLE: f64 = -2.0;
/// Whole numbers below this are exact in a JavaScript number.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// A client, and what it has on its way. Times are in ms: `mono` by `performance.now()`, `wall` by `Date.now()`.
#[derive(Debug)]
pub struct Core {
    client: Client,
    in_flight: Option<BatchHandle>,
    beacons: Vec<Beacon>,
}

/// What a [`Core`] is started with, besides numbers: texts, each ended by U+0000, in this order.
#[derive(Debug, Default)]
struct Texts<'a> {
    key: &'a str,
    /// 16 hex digits.
    stream: &'a str,
    language: &'a str,
    timezone: &'a str,
}

impl<'a> Texts<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        let mut texts = bytes
            .split(|byte| *byte == 0)
            .map(|text| str::from_utf8(text).unwrap_or(""));
        let mut next = || texts.next().unwrap_or("");
        Self {
            key: next(),
            stream: next(),
            language: next(),
            timezone: next(),
        }
    }
}

impl Core {
    /// A client with an empty queue. `texts`: write key, stream (16 hex digits), language and time zone, with U+0000
    /// between them; the screen in CSS pixels.
    pub fn new(texts: &[u8], width: u32, height: u32, now: Now) -> Self {
        let texts = Texts::of(texts);
        let stream = NonZeroU64::new(hex(texts.stream)).unwrap_or(NonZeroU64::MAX);
        let mut config = Config::new(texts.key);
        config.client = v1::Client {
            name: "web".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        config.device = v1::Device {
            language: texts.language.to_owned(),
            timezone: texts.timezone.to_owned(),
            screen_width: width,
            screen_height: height,
            ..v1::Device::default()
        };
        // Ten thousand events of some properties; as a snapshot they still fit `localStorage`.
        config.queue_bytes = 4 << 20;
        let start = Start {
            now,
            stream,
            install: String::new(),
            first_day: 0,
            seed: stream.get(),
        };
        Self {
            client: Client::new(config, start),
            in_flight: None,
            beacons: Vec::new(),
        }
    }

    /// Takes over what another page stored; gives the number of events. The most recent page first.
    pub fn restore(&mut self, snapshot: &[u8], now: Now) -> usize {
        self.client.restore(snapshot, now).events
    }

    /// Whose the next events are. `texts`: install id and user, with U+0000 between them; `first_day` of the install in
    /// days since 1970; `consent` as a number of [`Consent`].
    pub fn person(&mut self, texts: &[u8], first_day: u32, consent: u32) {
        let (install, user) = str::from_utf8(texts)
            .ok()
            .and_then(|texts| texts.split_once('\0'))
            .unwrap_or_default();
        self.client.set_person(Person {
            install: install.to_owned(),
            first_day,
            user: user.to_owned(),
            consent: Consent::try_from(consent as i32).unwrap_or(Consent::Denied),
        });
    }

    /// Queues an event, in the form of [`Passed`], under its number in the page's stream. `at` is when it happened, by the
    /// monotonic clock. Gives the name of the reason for which it was refused, or an empty text.
    pub fn record(&mut self, passed: &[u8], seq: u64, at: u64, now: Now) -> &'static str {
        let Some(Passed { page, mut event }) = Passed::read(passed) else {
            return name(Reason::Malformed);
        };
        for (_, value) in &mut event.properties {
            match value {
                Value::Number(number) if whole(*number) => {
                    *value = Value::Integer(*number as i64);
                }
                _ => {}
            }
        }
        self.client.set_page(page);
        let result = self.client.adopt(seq, event, at, now);
        result.map_or_else(|refused| name(refused.reason), |_| "")
    }

    /// Sends what is queued as soon as the server allows.
    pub fn flush(&mut self) {
        self.client.flush();
    }

    /// What to do now: send what is written to `body` and call [`reply`](Self::reply) (−1), nothing until the next
    /// call (−2), or ask again at the given monotonic time.
    pub fn step(&mut self, body: &mut Vec<u8>, now: Now) -> f64 {
        match self.client.next_step(now) {
            Step::Send { batch, bytes } => {
                self.in_flight = Some(batch);
                *body = bytes;
                SEND
            }
            Step::WaitUntil(at) => at as f64,
            Step::Idle => IDLE,
        }
    }

    /// How the batch was answered: HTTP status, or 0 if it was not; `Retry-After` in ms; the body.
    pub fn reply(&mut self, status: u16, retry_after: Option<u64>, body: &[u8], now: Now) {
        let Some(batch) = self.in_flight.take() else {
            return;
        };
        let reply = if status == 0 {
            Reply::Unreachable
        } else {
            Reply::of_status(status, retry_after, body)
        };
        self.client.on_reply(batch, reply, now);
    }

    /// When the page goes: prepares beacons of at most `max_bytes` together and gives their number.
    pub fn leave(&mut self, max_bytes: usize, now: Now) -> usize {
        self.beacons = self.client.leave(now, max_bytes);
        self.beacons.len()
    }

    /// The bytes of a beacon that [`leave`](Self::leave) prepared.
    pub fn beacon(&self, index: usize) -> &[u8] {
        self.beacons.get(index).map_or(&[], Beacon::bytes)
    }

    /// The browser took this beacon.
    pub fn beaconed(&mut self, index: usize, now: Now) {
        if let Some(beacon) = self.beacons.get(index) {
            self.client.beaconed(beacon, now);
        }
    }

    /// What the next page needs: the newest events, of `max_bytes` at most, and whether that is all of them.
    pub fn snapshot(&self, max_bytes: usize, now: Now) -> (Vec<u8>, bool) {
        self.client.snapshot_of_newest(max_bytes, now)
    }

    /// Events that wait or are in flight.
    pub fn waiting(&self) -> usize {
        self.client.len()
    }

    /// How many events were given up or refused by the server, by reason: a line each; empty if none was.
    pub fn lost(&self) -> String {
        let mut lost = String::new();
        for (fate, count) in &self.client.counts().fates {
            if *fate != Fate::Accepted {
                line(&mut lost, *count, *fate);
            }
        }
        lost
    }

    /// The fates since the last call, a line each: sequence number and name. Events of earlier pages are left out.
    pub fn fates(&mut self) -> String {
        let stream = self.client.stream();
        let mut lines = String::new();
        for (id, fate) in self.client.take_fates() {
            if id.stream == stream {
                line(&mut lines, id.seq, fate);
            }
        }
        lines
    }
}

/// The reason's name, from the same table as the fates'.
fn name(reason: Reason) -> &'static str {
    Fate::Rejected(Some(reason)).as_str()
}

#[expect(clippy::float_cmp, reason = "whole numbers are exact")]
fn whole(number: f64) -> bool {
    -WHOLE < number && number < WHOLE && (number as i64) as f64 == number
}

/// What 16 hex digits say; 0 if they are something else.
fn hex(digits: &str) -> u64 {
    let digit = |value: u64, digit: char| Some(value << 4 | u64::from(digit.to_digit(16)?));
    digits.chars().try_fold(0, digit).unwrap_or(0)
}

/// Writes `number fate`. Formatting by the standard library would add kilobytes.
fn line(out: &mut String, number: u64, fate: Fate) {
    decimal(out, number);
    out.push(' ');
    out.push_str(fate.as_str());
    out.push('\n');
}

fn decimal(out: &mut String, number: u64) {
    if number > 9 {
        decimal(out, number / 10);
    }
    out.push(char::from(b'0' + (number % 10) as u8));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "codes and whole numbers are exact")]

    use proptest::prelude::*;
    use wakeline_client::{Event, Now, Page, Passed, Value};

    use super::{Core, IDLE, SEND, hex, whole};

    fn at(ms: u64) -> Now {
        Now {
            mono_ms: ms,
            wall_ms: 1_790_000_000_000 + ms,
        }
    }

    fn core() -> Core {
        let texts = "wk\09e3779b97f4a7c15\0de-DE\0Europe/Berlin".as_bytes();
        let mut core = Core::new(texts, 1920, 1080, at(0));
        core.person(b"install\0", 20_717, 0);
        core
    }

    fn passed(event: Event) -> Vec<u8> {
        let page = Page {
            url: "https://shop.example/".to_owned(),
            ..Page::default()
        };
        Passed { page, event }.write()
    }

    #[test]
    fn what_the_page_says_reaches_the_batch() -> Result<(), wakeline_proto::batch::DecodeError> {
        let mut core = core();
        let event = Event::custom("e").with("price", 19.5).with("nth", 7.0);
        assert_eq!(core.record(&passed(event), 0, 5, at(10)), "");
        assert_eq!(core.waiting(), 1);
        core.flush();
        let mut body = Vec::new();
        assert_eq!(core.step(&mut body, at(20)), SEND);
        let batch = wakeline_proto::batch::decode(&body)?;
        assert_eq!(batch.key, "wk");
        assert_eq!(batch.visitor, "install");
        assert_eq!(batch.numbers, [19.5], "whole numbers are integers");
        assert_eq!(batch.streams[0].id, 0x9e37_79b9_7f4a_7c15);
        let device = batch.device.unwrap_or_default();
        assert_eq!(
            (&*device.language, &*device.timezone, device.screen_width),
            ("de-DE", "Europe/Berlin", 1920)
        );
        core.reply(202, None, &[8, 1], at(30));
        assert_eq!(
            (core.waiting(), core.fates()),
            (0, "0 accepted\n".to_owned())
        );
        assert_eq!(core.lost(), "");
        assert_eq!(core.step(&mut body, at(40)), IDLE);
        Ok(())
    }

    #[test]
    fn what_the_next_page_restores_is_sent_once_a_beacons_time_is_over() {
        let mut left = core();
        assert_eq!(left.record(&passed(Event::page_view()), 3, 5, at(10)), "");
        assert_eq!(left.leave(60_000, at(20)), 1);
        assert!(!left.beacon(0).is_empty() && left.beacon(1).is_empty());
        left.beaconed(0, at(20));
        let (snapshot, whole) = left.snapshot(usize::MAX, at(20));
        assert!(whole);
        let mut next = Core::new("wk\x000000000000000001".as_bytes(), 0, 0, at(0));
        assert_eq!(next.restore(&snapshot, at(100)), 1);
        assert!(next.step(&mut Vec::new(), at(100)) > 29_000.0);
    }

    #[test]
    fn only_hex_digits_are_a_stream() {
        assert_eq!(hex("00c0ffee00c0ffee"), 0x00c0_ffee_00c0_ffee);
        assert_eq!(hex("00c0ffee00c0ffe "), 0);
        assert_eq!(hex(""), 0);
    }

    #[test]
    fn numbers_that_are_not_exact_are_no_integers() {
        for number in [
            0.5,
            f64::NAN,
            f64::INFINITY,
            9_007_199_254_740_992.0,
            -1e300,
        ] {
            assert!(!whole(number), "{number}");
        }
        for number in [0.0, -3.0, 9_007_199_254_740_991.0] {
            assert!(whole(number), "{number}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), seq in any::<u64>(), ms in any::<u64>()) {
            let mut core = Core::new(&bytes, 0, 0, at(0));
            core.restore(&bytes, at(1));
            core.record(&bytes, seq, ms, at(1));
            core.person(&bytes, u32::MAX, seq as u32);
            core.reply(202, Some(ms), &bytes, at(2));
            core.step(&mut Vec::new(), at(3));
            core.reply(202, Some(ms), &bytes, at(4));
        }

        #[test]
        fn events_are_passed_whole(name in ".{0,9}", text in ".{0,9}", number in any::<f64>(), flag in any::<bool>(), ms in any::<i64>()) {
            let event = Event::custom(name)
                .with("text", text)
                .with("number", number)
                .with("flag", flag)
                .with("time", Value::Timestamp(ms));
            let read = Passed::read(&passed(event.clone()));
            let read = read.map(|passed| passed.event);
            // NaN is unlike itself.
            prop_assert_eq!(format!("{read:?}"), format!("{:?}", Some(event)));
        }
    }
}
