//! Heads of requests and answers on their way through: what is meant for the next hop only stays here.

use hyper::Uri;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use hyper::http::uri::PathAndQuery;

/// RFC 9110 section 7.6.1; the last two are what others have sent instead.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Takes out what concerns one connection only, and notes the way (RFC 9110 section 7.6.3).
pub(super) fn pass_on(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    headers.append(VIA, HeaderValue::from_static("1.1 vmsgate-shim"));
}

/// What the server is asked for, as it expects it: without its own name (RFC 9112 section 3.2.1).
pub(super) fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    Uri::from(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(lines: &[(&str, &str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        pass_on(&mut headers);
        let mut passed: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        passed.sort();
        passed
    }

    #[test]
    fn what_is_for_the_server_passes_and_the_password_does_not() {
        let lines = [
            ("Accept", "*/*"),
            ("Authorization", "NTLM TlRMTVNTUAAB"),
            ("Proxy-Authorization", "Basic dm1zZ2F0ZTpwdw=="),
            ("Proxy-Connection", "keep-alive"),
            ("Connection", "close, X-Private"),
            ("Connection", "Keep-Alive"),
            ("X-Private", "1"),
            ("Keep-Alive", "timeout=5"),
            ("TE", "trailers"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("Via", "1.0 fred"),
        ];
        assert_eq!(
            passed(&lines),
            ["accept: */*", "authorization: NTLM TlRMTVNTUAAB", "via: 1.0 fred", "via: 1.1 vmsgate-shim"]
        );
        assert_eq!(passed(&[("Connection", "a b, , ;x")]), ["via: 1.1 vmsgate-shim"]);
    }

    #[test]
    fn the_server_is_asked_for_the_path_alone() {
        for (uri, expected) in
            [("http://mgmt:8081/a/b?c=d", "/a/b?c=d"), ("http://mgmt", "/"), ("http://mgmt?c=d", "/?c=d")]
        {
            assert_eq!(origin_form(&uri.parse().unwrap()).to_string(), expected);
        }
    }
}
