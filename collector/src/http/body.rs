//! Taking a request's body: under a cap, within a time, and decompressed.

use std::fmt::Display;
use std::io::Read;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::HeaderMap;
use hyper::body::Body;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};

use super::problem::Refusal;

/// Largest zstd window, as RFC 9659 has it for HTTP: 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// How the bytes that wait in memory are kept under a limit: bodies that come, records that are being written.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
        })
    }
}

/// Bytes taken from a [`Budget`], given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    pub(crate) fn none(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            bytes: 0,
        }
    }

    /// Takes more; refused if there is not as much left.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.bytes += bytes;
        if self.budget.used.fetch_add(bytes, Relaxed) + bytes > self.budget.limit {
            return Err(Refusal::Busy); // dropping gives back
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Relaxed);
    }
}

/// Refuses content types that are not one of `allowed`; none given is fine.
pub(crate) fn check_content_type(
    headers: &HeaderMap,
    allowed: &[&str],
    said: &'static str,
) -> Result<(), Refusal> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let kind = value
        .as_bytes()
        .split(|b| *b == b';')
        .next()
        .unwrap_or_default();
    let kind = kind.trim_ascii();
    if kind.is_empty()
        || allowed
            .iter()
            .any(|name| kind.eq_ignore_ascii_case(name.as_bytes()))
    {
        Ok(())
    } else {
        Err(Refusal::ContentType(said))
    }
}

/// Reads a body of at most `limit` bytes, as sent.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: impl Body<Data = Bytes, Error: Display>,
    limit: usize,
    within: Duration,
    budget: &Arc<Budget>,
) -> Result<(Bytes, Share), Refusal> {
    let too_large = || Refusal::TooLarge(format!("the body has more than {limit} bytes"));
    let said = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let reading = async {
        let mut body = pin!(body);
        let mut share = Share::none(budget);
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame
                .map_err(|error| Refusal::Malformed(format!("the body broke off: {error}")))?;
            let Ok(chunk) = frame.into_data() else {
                continue; // trailers
            };
            share.grow(chunk.len())?;
            if first.len() + all.len() + chunk.len() > limit {
                return Err(too_large());
            }
            if first.is_empty() && all.is_empty() {
                first = chunk; // mostly the only one: no copy
            } else {
                all.extend_from_slice(&std::mem::take(&mut first));
                all.extend_from_slice(&chunk);
            }
        }
        let bytes = if all.is_empty() { first } else { all.freeze() };
        Ok((bytes, share))
    };
    tokio::time::timeout(within, reading)
        .await
        .map_err(|_| Refusal::Timeout)?
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Encoding {
    /// Not declared: raw, or gzip if it begins so (a beacon can't set a header).
    Sniff,
    Gzip,
    Deflate,
    Zstd,
    Brotli,
}

impl Encoding {
    /// The encoding that the headers name; one at most.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let Some(value) = values.next() else {
            return Ok(Self::Sniff);
        };
        if values.next().is_some() {
            return Err(Refusal::Encoding);
        }
        match value
            .as_bytes()
            .trim_ascii()
            .to_ascii_lowercase()
            .as_slice()
        {
            b"" | b"identity" => Ok(Self::Sniff),
            b"gzip" | b"x-gzip" => Ok(Self::Gzip),
            b"deflate" => Ok(Self::Deflate),
            b"zstd" => Ok(Self::Zstd),
            b"br" => Ok(Self::Brotli),
            _ => Err(Refusal::Encoding),
        }
    }
}

/// Decompresses `body` to at most `cap` bytes; more is [`Refusal::TooLarge`], found before it is in memory.
pub(crate) fn decompress(encoding: Encoding, body: Bytes, cap: usize) -> Result<Bytes, Refusal> {
    let encoding = match encoding {
        Encoding::Sniff if body.starts_with(&[0x1f, 0x8b, 0x08]) => Encoding::Gzip,
        other => other,
    };
    let source = body.as_ref();
    match encoding {
        Encoding::Sniff if body.len() > cap => Err(too_large(cap)),
        Encoding::Sniff => Ok(body),
        Encoding::Gzip => read_capped(flate2::bufread::MultiGzDecoder::new(source), source, cap),
        Encoding::Deflate if is_zlib(source) => {
            read_capped(flate2::bufread::ZlibDecoder::new(source), source, cap)
        }
        // HTTP's "deflate" has a zlib frame, but clients have always left it out.
        Encoding::Deflate => read_capped(flate2::bufread::DeflateDecoder::new(source), source, cap),
        Encoding::Brotli => read_capped(brotli::Decompressor::new(source, 4096), source, cap),
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(source).map_err(broken)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(broken)?;
            read_capped(decoder, source, cap)
        }
    }
}

fn is_zlib(source: &[u8]) -> bool {
    match source {
        [cmf, flags, ..] => cmf & 0x0f == 8 && (u16::from(*cmf) << 8 | u16::from(*flags)) % 31 == 0,
        _ => false,
    }
}

fn read_capped(decoder: impl Read, source: &[u8], cap: usize) -> Result<Bytes, Refusal> {
    let mut out = Vec::with_capacity((source.len() * 4).min(cap).min(64 << 10));
    decoder
        .take(cap as u64 + 1)
        .read_to_end(&mut out)
        .map_err(broken)?;
    if out.len() > cap {
        return Err(too_large(cap));
    }
    Ok(out.into())
}

fn broken(error: impl std::fmt::Display) -> Refusal {
    Refusal::Malformed(format!("the body can't be decompressed: {error}"))
}

fn too_large(cap: usize) -> Refusal {
    Refusal::TooLarge(format!(
        "the body has more than {cap} bytes when decompressed"
    ))
}
