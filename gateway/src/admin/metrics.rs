//! `/metrics`: the gateway's [`Status`](super::status::Status) as numbers for Prometheus.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use tokio::sync::Mutex;

use super::exposition::CONTENT_TYPE;
use super::page::page;
use super::status::StatusClient;
use crate::http::HttpError;

/// Whoever is on the host may ask as often as they like, and an answer costs the workers a moment: for so long it is
/// given again.
const FRESH: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Metrics {
    status: StatusClient,
    /// The newest page, and when it was made.
    page: Mutex<Option<(Instant, String)>>,
}

pub fn router(status: StatusClient) -> Router {
    let metrics = Metrics { status, page: Mutex::default() };
    Router::new().route("/metrics", get(serve)).with_state(Arc::new(metrics))
}

async fn serve(State(metrics): State<Arc<Metrics>>) -> Result<impl IntoResponse, HttpError> {
    let mut newest = metrics.page.lock().await;
    let text = match &*newest {
        Some((made, text)) if made.elapsed() < FRESH => text.clone(),
        _ => {
            let text = page(&metrics.status.status().await?);
            newest.insert((Instant::now(), text)).1.clone()
        }
    };
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text))
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request, http::StatusCode};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::admin::status::{Status, example, status_channel};

    async fn scrape(router: &Router) -> (StatusCode, String, String) {
        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn scrapes_in_quick_succession_ask_the_run_loop_once() {
        let (client, mut requests) = status_channel();
        let router = router(client);
        let answer = async {
            let reply: tokio::sync::oneshot::Sender<Status> = requests.recv().await.unwrap();
            reply.send(example()).unwrap();
        };
        let (first, ()) = tokio::join!(scrape(&router), answer);
        assert_eq!((first.0, first.1.as_str()), (StatusCode::OK, CONTENT_TYPE));
        assert_eq!(first.2, page(&example()));
        assert_eq!(scrape(&router).await, first);
        assert!(requests.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_cannot_say_is_no_empty_page() {
        let (client, _requests) = status_channel();
        let (status, _, body) = scrape(&router(client)).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("\"code\":\"stuck\""), "{body}");
    }
}
