//! Requests for `http://` addresses, which browsers send to a proxy whole instead of asking for a tunnel.
//!
//! As long as a program asks the same server on the same connection, the server's connection is the same too: Windows
//! authentication (NTLM) is about connections, not requests.

use http_body_util::Either;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderValue};
use hyper::http::uri::Scheme;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::task::spawn_local;

use super::head::{origin_form, pass_on};
use super::{Body, Session, refused, text};
use crate::proxy::destination::Destination;

/// The port of `http://` addresses.
const PORT: u16 = 80;

/// A connection to a server that can carry requests.
pub(super) struct Upstream {
    to: Destination,
    sender: SendRequest<Incoming>,
}

impl Session {
    pub(super) async fn forward(&self, request: Request<Incoming>) -> Response<Body> {
        let http = request.uri().scheme() == Some(&Scheme::HTTP);
        let destination = Destination::of_uri(request.uri(), Some(PORT)).filter(|_| http);
        let Some(destination) = destination else {
            let line = "the proxy fetches http://HOST[:PORT]/… only; everything else needs CONNECT";
            return text(StatusCode::BAD_REQUEST, line);
        };
        let mut upstream = match self.upstream_to(destination).await {
            Ok(upstream) => upstream,
            Err(response) => return response,
        };
        match upstream.sender.send_request(for_server(request, &upstream.to)).await {
            Ok(mut response) => {
                *self.upstream.borrow_mut() = Some(upstream);
                pass_on(response.headers_mut());
                response.map(Either::Left)
            }
            Err(error) => {
                tracing::debug!(%error, "no answer to a request");
                text(StatusCode::BAD_GATEWAY, format_args!("{} broke off", upstream.to))
            }
        }
    }

    /// The connection of the request before, or a new one.
    async fn upstream_to(&self, destination: Destination) -> Result<Upstream, Response<Body>> {
        let last = self.upstream.take().filter(|last| last.to == destination);
        if let Some(mut last) = last
            && last.sender.ready().await.is_ok()
        {
            return Ok(last);
        }
        let stream = self.broker.dial(&destination).await.map_err(|refusal| refused(&refusal))?;
        let opened = http1::Builder::new().preserve_header_case(true).handshake(TokioIo::new(stream)).await;
        let (sender, connection) =
            opened.map_err(|_| text(StatusCode::BAD_GATEWAY, format_args!("{destination} broke off")))?;
        spawn_local(self.broker.carrier().clone().accompany(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a server's HTTP connection broke");
            }
        }));
        Ok(Upstream { to: destination, sender })
    }
}

fn for_server(mut request: Request<Incoming>, to: &Destination) -> Request<Incoming> {
    // The name in the address counts, whatever the program says beside it (RFC 9112 section 3.2.2).
    let host = request.uri().authority().map(|authority| authority.as_str());
    let host = host.map(|host| host.rsplit('@').next().unwrap_or(host).to_owned());
    let host = host.unwrap_or_else(|| to.to_string());
    *request.uri_mut() = origin_form(request.uri());
    *request.version_mut() = Version::HTTP_11;
    pass_on(request.headers_mut());
    if let Ok(host) = HeaderValue::from_str(&host) {
        request.headers_mut().insert(HOST, host);
    }
    request
}
