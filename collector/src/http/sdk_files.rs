//! `GET /w/sdk/*`: the SDK's files.
//!
//! The folder is read once, at start, so a request only looks a name up: no path of a request ever reaches the disk.
//! A file `NAME.br` or `NAME.gz` is not served itself but instead of `NAME` to clients that accept it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{self, State};
use axum::response::Response;
use bytes::Bytes;
use hyper::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderValue,
    IF_NONE_MATCH, VARY,
};
use hyper::{HeaderMap, StatusCode};

use super::Doors;
use super::problem::Refusal;

/// The loader's name in the folder; its name outside is configurable.
const LOADER: &str = "wakeline.js";
const MAX_DEPTH: usize = 4;
const MAX_BYTES: usize = 64 << 20;
/// For names that carry a hash of the content.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// For others: asked for again after five minutes, mostly answered with 304.
const SHORT: &str = "public, max-age=300";

/// The files, by their path below the folder.
#[derive(Debug, Default)]
pub(crate) struct SdkFiles(HashMap<String, File>);

#[derive(Debug)]
struct File {
    plain: Variant,
    brotli: Option<Variant>,
    gzip: Option<Variant>,
    content_type: &'static str,
    cache: &'static str,
}

#[derive(Clone, Debug)]
struct Variant {
    bytes: Bytes,
    etag: HeaderValue,
}

impl SdkFiles {
    /// Reads `dir`; the loader gets the name `script`.
    pub(crate) fn read(dir: &Path, script: &str) -> std::io::Result<Self> {
        let mut contents = HashMap::new();
        read_folder(dir, "", MAX_DEPTH, &mut contents, &mut MAX_BYTES.clone())?;
        let mut files = HashMap::new();
        for (name, bytes) in &contents {
            let original = name
                .strip_suffix(".br")
                .or_else(|| name.strip_suffix(".gz"));
            if original.is_some_and(|original| contents.contains_key(original)) {
                continue;
            }
            let variant = |suffix: &str| {
                contents
                    .get(&format!("{name}{suffix}"))
                    .map(|bytes| Variant::new(bytes.clone(), suffix))
            };
            let file = File {
                plain: Variant::new(bytes.clone(), ""),
                brotli: variant(".br"),
                gzip: variant(".gz"),
                content_type: content_type(name),
                cache: if is_hashed(name) { IMMUTABLE } else { SHORT },
            };
            let name = if name == LOADER { script } else { name };
            files.insert(name.to_owned(), file);
        }
        Ok(Self(files))
    }

    fn get(&self, path: &str, headers: &HeaderMap) -> Result<Response, Refusal> {
        let file = self.0.get(path).ok_or(Refusal::NotFound)?;
        let (encoding, variant) = match (&file.brotli, &file.gzip) {
            (Some(variant), _) if accepts(headers, "br") => (Some("br"), variant),
            (_, Some(variant)) if accepts(headers, "gzip") => (Some("gzip"), variant),
            _ => (None, &file.plain),
        };
        let mut response = Response::new(Body::empty());
        let known = headers
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|tag| tag.trim().trim_start_matches("W/"))
            .any(|tag| tag == "*" || tag.as_bytes() == variant.etag.as_bytes());
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            *response.body_mut() = Body::from(variant.bytes.clone());
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static(file.content_type));
            if let Some(encoding) = encoding {
                response
                    .headers_mut()
                    .insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
            }
        }
        let headers = response.headers_mut();
        headers.insert(ETAG, variant.etag.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(file.cache));
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
        Ok(response)
    }
}

pub(crate) async fn door(
    State(doors): State<Arc<Doors>>,
    path: Result<extract::Path<String>, extract::rejection::PathRejection>,
    headers: HeaderMap,
) -> Response {
    let outcome = match path {
        Ok(extract::Path(path)) => doors.sdk.get(&path, &headers),
        Err(_) => Err(Refusal::NotFound), // not UTF-8
    };
    doors.answer(outcome)
}

impl Variant {
    fn new(bytes: Bytes, suffix: &str) -> Self {
        let tag = format!("\"{:016x}{suffix}\"", xxhash_rust::xxh3::xxh3_64(&bytes));
        let etag = HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""));
        Self { bytes, etag }
    }
}

fn read_folder(
    dir: &Path,
    below: &str,
    depth: usize,
    into: &mut HashMap<String, Bytes>,
    room: &mut usize,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue; // can't be asked for
        };
        if name.starts_with('.') {
            continue;
        }
        let path = entry.path();
        let kind = std::fs::metadata(&path)?;
        if kind.is_dir() && depth > 0 {
            read_folder(&path, &format!("{below}{name}/"), depth - 1, into, room)?;
        } else if kind.is_file() {
            let bytes = std::fs::read(&path)?;
            *room = room
                .checked_sub(bytes.len())
                .ok_or_else(|| std::io::Error::other("the folder has more than 64 MiB"))?;
            into.insert(format!("{below}{name}"), bytes.into());
        }
    }
    Ok(())
}

/// Whether a part of the name looks like a hash: eight or more characters of hex or of upper-case base 32, with a
/// digit among them.
fn is_hashed(name: &str) -> bool {
    name.split(['-', '_', '.', '/']).any(|part| {
        let hex = part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let base32 = part
            .bytes()
            .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
        part.len() >= 8 && (hex || base32) && part.bytes().any(|b| b.is_ascii_digit())
    })
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("wasm") => "application/wasm",
        Some("json" | "map") => "application/json",
        Some("ts" | "txt" | "md") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Whether `Accept-Encoding` names `coding` and does not refuse it by `q=0`.
fn accepts(headers: &HeaderMap, coding: &str) -> bool {
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            let named = parts
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case(coding));
            let refused = parts
                .filter_map(|parameter| parameter.strip_prefix("q="))
                .any(|q| q.parse().is_ok_and(|q: f32| q <= 0.0));
            named && !refused
        })
}
