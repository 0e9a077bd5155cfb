//! HTTP with a program: tunnels by CONNECT (RFC 9110 section 9.3.6), and requests for `http://` addresses.

mod forward;
mod head;

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION};
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use vmsgate_pump::Stream;

use super::broker::{Broker, Refusal};
use super::destination::Destination;
use super::hand_over;
use forward::Upstream;

/// For the head of a request, and the pause before the next one on the same connection.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// Of a request's head: browsers send cookies of some kilobytes.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// A server's answer, or a text of ours.
type Body = Either<Incoming, Full<Bytes>>;

/// One program's connection.
struct Session {
    broker: Rc<Broker>,
    /// The way to the server once a CONNECT was granted, and the program's connection as soon as it has been told.
    tunnel: RefCell<Option<(OnUpgrade, Stream)>>,
    /// The server of the last request that was no CONNECT.
    upstream: RefCell<Option<Upstream>>,
}

/// Serves one program from its first byte to its last.
pub(super) async fn serve(socket: TcpStream, broker: Rc<Broker>) {
    let session = Rc::new(Session { broker, tunnel: RefCell::default(), upstream: RefCell::default() });
    let service = service_fn(|request| {
        let session = session.clone();
        async move { Ok::<_, Infallible>(session.answer(request).await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(MAX_HEAD_BYTES);
    builder.preserve_header_case(true);
    let served = builder.serve_connection(TokioIo::new(socket), service).with_upgrades().await;
    if let Err(error) = served {
        tracing::debug!(%error, "a program's HTTP connection broke");
    }
    let granted = session.tunnel.take();
    if let Some((upgrade, stream)) = granted
        && let Ok(upgraded) = upgrade.await
        && let Ok((socket, early)) = into_socket(upgraded)
    {
        hand_over(stream, &early, socket).await;
    }
}

fn into_socket(upgraded: Upgraded) -> Result<(TcpStream, Bytes), Upgraded> {
    let parts = upgraded.downcast::<TokioIo<TcpStream>>()?;
    Ok((parts.io.into_inner(), parts.read_buf))
}

impl Session {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let connect = request.method() == Method::CONNECT;
        if !connect && request.uri().scheme().is_none() {
            return text(StatusCode::BAD_REQUEST, "this is a proxy: set it as such in the program");
        }
        let authorization = request.headers().get(PROXY_AUTHORIZATION).map(HeaderValue::as_bytes);
        if !self.broker.access().admits_basic(authorization) {
            let mut refused = text(
                StatusCode::PROXY_AUTHENTICATION_REQUIRED,
                "the proxy wants a password: `vmsgate-shim status --show-password` shows it",
            );
            let basic = HeaderValue::from_static("Basic realm=\"vmsgate-shim\", charset=\"UTF-8\"");
            refused.headers_mut().insert(PROXY_AUTHENTICATE, basic);
            return refused;
        }
        if connect { self.connect(request).await } else { self.forward(request).await }
    }

    async fn connect(&self, request: Request<Incoming>) -> Response<Body> {
        let Some(destination) = Destination::of_uri(request.uri(), None) else {
            return text(StatusCode::BAD_REQUEST, "CONNECT is to be followed by HOST:PORT");
        };
        match self.broker.dial(&destination).await {
            Ok(stream) => {
                *self.tunnel.borrow_mut() = Some((hyper::upgrade::on(request), stream));
                Response::new(Either::Right(Full::default()))
            }
            Err(refusal) => refused(&refusal),
        }
    }
}

fn refused(refusal: &Refusal) -> Response<Body> {
    text(refusal.status(), refusal)
}

/// An answer of ours: one line.
fn text(status: StatusCode, line: impl Display) -> Response<Body> {
    let mut response = Response::new(Either::Right(Full::new(Bytes::from(format!("{line}\n")))));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}
