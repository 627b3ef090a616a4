//! The dashboard's files, which are part of the binary.

use axum::{
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

use super::problem::{Code, Problem};

/// A file of the dashboard.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    etag: &'static str,
    /// Its name changes with what is in it.
    immutable: bool,
    identity: &'static [u8],
    gzip: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// Whatever no other route answers: a file, or for a path within the dashboard its page.
pub(super) async fn assets(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path();
    if path == "/api" || path.starts_with("/api/") {
        return Problem::new(Code::NotFound).into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        return Problem::new(Code::MethodNotAllowed).into_response();
    }
    // A name with a dot means a file; that it is not there must not look as if it were.
    let is_file = path
        .rsplit('/')
        .next()
        .is_some_and(|name| name.contains('.'));
    let wanted = if is_file || path.starts_with("/assets/") {
        path
    } else {
        "/"
    };
    match ASSETS.iter().find(|asset| asset.path == wanted) {
        Some(asset) => serve(asset, &headers),
        None => Problem::new(Code::NotFound).into_response(),
    }
}

fn serve(asset: &Asset, headers: &HeaderMap) -> Response {
    let cache = if asset.immutable {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let common = [
        (header::CACHE_CONTROL, cache),
        (header::ETAG, asset.etag),
        (header::VARY, "accept-encoding"),
    ];
    if is_known(headers, asset.etag) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let content_type = [(header::CONTENT_TYPE, asset.content_type)];
    if accepts_gzip(headers) {
        let encoding = [(header::CONTENT_ENCODING, "gzip")];
        (common, content_type, encoding, asset.gzip).into_response()
    } else {
        (common, content_type, asset.identity).into_response()
    }
}

/// Whether the client has this version.
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).into_iter();
    known
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag)
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).into_iter();
    accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|encoding| {
            let mut parts = encoding.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let refused = parts.any(|part| {
                let weight = part
                    .strip_prefix("q=")
                    .and_then(|weight| weight.parse::<f32>().ok());
                weight.is_some_and(|weight| weight <= 0.0)
            });
            (name.eq_ignore_ascii_case("gzip") || name == "*") && !refused
        })
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};

    use super::{accepts_gzip, is_known};

    #[test]
    fn gzip_is_sent_to_who_accepts_it() {
        let check = |accept: &'static str, expected: bool| {
            let headers =
                HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(accept))]);
            assert_eq!(accepts_gzip(&headers), expected, "{accept}");
        };
        check("gzip", true);
        check("deflate, GZIP;q=0.5", true);
        check("*", true);
        check("gzip;q=0", false);
        check("br", false);
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn a_known_version_is_recognised_among_several() {
        let check = |known: &'static str, expected: bool| {
            let headers =
                HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static(known))]);
            assert_eq!(is_known(&headers, "\"b\""), expected, "{known}");
        };
        check("\"a\", W/\"b\"", true);
        check("*", true);
        check("\"a\"", false);
    }
}
