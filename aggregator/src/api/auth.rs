//! Who may ask: a token by `Authorization: Bearer`, or a browser's session by cookie.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{Extensions, HeaderMap, HeaderName, header, request::Parts},
};

use super::{
    Shared,
    problem::{Code, Problem},
};
use crate::control::{Caller, ControlSnapshot};

/// Name of the session's cookie.
pub(super) const COOKIE: &str = "wakeline_session";

/// Somebody who may do everything.
pub(super) struct Admin;

impl FromRequestParts<Shared> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Problem> {
        let member = Member::from_request_parts(parts, state).await?;
        member.admin().map(|()| Self)
    }
}

/// Somebody who may see and do what belongs to some sites, or to all.
pub(super) struct Member(pub(super) Caller);

impl Member {
    /// Refuses who may not do everything.
    pub(super) fn admin(&self) -> Result<(), Problem> {
        match self.0.sites {
            None => Ok(()),
            Some(_) => Err(Problem::with(
                Code::Forbidden,
                "this token is for some sites only: this needs an admin token",
            )),
        }
    }

    /// Sites, keys and rules, as far as the caller may see them.
    pub(super) fn snapshot(&self, state: &Shared) -> Arc<ControlSnapshot> {
        state.control.snapshot().seen_by(&self.0)
    }

    /// The id of the site of that id or domain. A site that the caller may not see is not there.
    pub(super) fn site(&self, state: &Shared, name: &str) -> Result<u64, Problem> {
        let snapshot = self.snapshot(state);
        let site = snapshot.find_site(name).map(|site| site.id);
        site.ok_or_else(|| Problem::with(Code::NotFound, format!("there is no site {name}")))
    }
}

/// Somebody who may read the reports of some sites, or of all: members, and who has a public link.
pub(super) struct Viewer(pub(super) Member);

impl Viewer {
    /// Whether this is somebody unknown, with a public link.
    pub(super) fn is_public(&self) -> bool {
        self.0.0.link.is_some()
    }
}

impl FromRequestParts<Shared> for Member {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Problem> {
        let viewer = Viewer::from_request_parts(parts, state).await?;
        if viewer.is_public() {
            return Err(Problem::with(
                Code::Forbidden,
                "a public link reads reports, and nothing else",
            ));
        }
        Ok(viewer.0)
    }
}

impl FromRequestParts<Shared> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Problem> {
        let caller = caller(&parts.headers, &parts.extensions, state)?;
        // Browsers add cookies by themselves, also to what another page asks for.
        if !parts.method.is_safe() && bearer(&parts.headers).is_none() {
            own_origin(&parts.headers)?;
        }
        Ok(Self(Member(caller)))
    }
}

/// The caller of a request.
pub(super) fn caller(
    headers: &HeaderMap,
    extensions: &Extensions,
    state: &Shared,
) -> Result<Caller, Problem> {
    let now = (state.clock)();
    if let Some(token) = bearer(headers) {
        if let Some(caller) = state.control.caller_by_link(token) {
            return Ok(caller);
        }
        return check_token(token, peer(extensions), state, now);
    }
    session(headers)
        .and_then(|session| state.control.caller_by_session(session, now))
        .ok_or(Problem::new(Code::Unauthorized))
}

/// Refuses what a page of another origin asks a browser for.
pub(super) fn own_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let own = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site == "same-origin");
    let host = origin.to_str().ok().and_then(|origin| {
        let (_, host) = origin.split_once("://")?;
        Some(host)
    });
    // A proxy may have put another host in place of the one that the browser asked. No page can set these headers.
    let asked = [header::HOST, HeaderName::from_static("x-forwarded-host")];
    let is_host = |name| {
        let asked = headers.get(name).and_then(|asked| asked.to_str().ok());
        asked
            .zip(host)
            .is_some_and(|(asked, host)| asked.trim().eq_ignore_ascii_case(host))
    };
    if own || asked.into_iter().any(is_host) {
        return Ok(());
    }
    Err(Problem::with(
        Code::Forbidden,
        "a page of another origin may not do this with the cookie of this one",
    ))
}

/// Checks a token. A right one always passes: whoever guesses must not lock out those behind the same address. An address
/// that shows many wrong ones is told to wait.
pub(super) fn check_token(
    token: &str,
    peer: Option<SocketAddr>,
    state: &Shared,
    now: i64,
) -> Result<Caller, Problem> {
    if let Some(caller) = state.control.caller_by_token(token) {
        return Ok(caller);
    }
    let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let wait = state.throttle.wait_ms(address, now);
    if wait > 0 {
        return Err(
            Problem::new(Code::TooManyAttempts).retry_after(wait.div_ceil(1000).cast_signed())
        );
    }
    state.throttle.failed(address, now);
    Err(Problem::with(Code::Unauthorized, "there is no such token"))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The session of a request's cookie.
pub(super) fn session(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter();
    cookies
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
}

/// Who is at the other end of the connection.
pub(super) fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|peer| peer.0)
}

/// Wrong tokens that an address may show in a [`WINDOW_MS`].
const ATTEMPTS: u32 = 10;
const WINDOW_MS: i64 = 60_000;
/// Addresses that are told apart at a time; further ones share one count.
const MAX_ADDRESSES: usize = 4_096;

/// Slows down guessing.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<HashMap<IpAddr, Failures>>);

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    since: i64,
}

impl Throttle {
    /// Milliseconds that this address has to wait before it may show another wrong token.
    fn wait_ms(&self, address: IpAddr, now: i64) -> u64 {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = failures.get(&network(address)).or_else(|| {
            // Counted together with others, if it had no place.
            (failures.len() >= MAX_ADDRESSES)
                .then(|| failures.get(&SHARED))
                .flatten()
        });
        match known {
            Some(known) if known.count >= ATTEMPTS => {
                u64::try_from(known.since + WINDOW_MS - now).unwrap_or(0)
            }
            _ => 0,
        }
    }

    fn failed(&self, address: IpAddr, now: i64) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut address = network(address);
        if failures.len() >= MAX_ADDRESSES && !failures.contains_key(&address) {
            failures.retain(|_, known| known.since + WINDOW_MS > now);
            if failures.len() >= MAX_ADDRESSES {
                address = SHARED;
            }
        }
        let fresh = Failures {
            count: 0,
            since: now,
        };
        let known = failures.entry(address).or_insert(fresh);
        if known.since + WINDOW_MS <= now {
            *known = fresh;
        }
        known.count += 1;
    }
}

const SHARED: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// What one customer of a provider usually has: an IPv4 address, or an IPv6 /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::{ATTEMPTS, MAX_ADDRESSES, Throttle, WINDOW_MS};

    #[test]
    fn an_address_waits_after_many_wrong_tokens_and_others_do_not() {
        let throttle = Throttle::default();
        let (guesser, neighbour) = (
            "2001:db8::1".parse().unwrap(),
            "2001:db8::2".parse().unwrap(),
        );
        let other = "2001:db8:1::1".parse().unwrap();
        for attempt in 0..i64::from(ATTEMPTS) {
            assert_eq!(throttle.wait_ms(guesser, attempt), 0);
            throttle.failed(guesser, attempt);
        }
        assert_eq!(throttle.wait_ms(guesser, 10_000), 50_000);
        assert_eq!(throttle.wait_ms(neighbour, 10_000), 50_000);
        assert_eq!(throttle.wait_ms(other, 10_000), 0);
        assert_eq!(throttle.wait_ms(guesser, WINDOW_MS), 0);
        throttle.failed(guesser, WINDOW_MS);
        assert_eq!(throttle.wait_ms(guesser, WINDOW_MS), 0);
    }

    #[test]
    fn many_addresses_take_bounded_memory_and_are_slowed_together() {
        let throttle = Throttle::default();
        for n in 0..2 * MAX_ADDRESSES as u32 {
            throttle.failed(std::net::Ipv4Addr::from_bits(n).into(), 0);
        }
        assert!(throttle.0.lock().unwrap().len() <= MAX_ADDRESSES + 1);
        assert!(throttle.wait_ms("203.0.113.9".parse().unwrap(), 1) > 0);
        assert_eq!(
            throttle.wait_ms("203.0.113.9".parse().unwrap(), WINDOW_MS),
            0
        );
    }
}
