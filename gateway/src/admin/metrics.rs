//! `/metrics`: the gateway's [`Status`] as numbers for Prometheus. Labels have few values, and none names a client: how
//! many time series there are does not grow with the site.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use tokio::sync::Mutex;

use super::exposition::{CONTENT_TYPE, Exposition};
use super::status::{Status, StatusClient, Totals};
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

/// Each metric is described in `docs/metrics.md`, with these words.
fn page(status: &Status) -> String {
    let mut page = Exposition::default();
    let post_quantum = status.sessions.iter().filter(|session| session.post_quantum).count();
    page.gauge(
        "vmsgate_sessions",
        "Open sessions, by whether they are under a pre-shared key agreed with ML-KEM-768.",
    )
    .sample(&[("post_quantum", "false")], status.sessions.len() - post_quantum)
    .sample(&[("post_quantum", "true")], post_quantum);
    page.gauge(
        "vmsgate_clients_expiring",
        "Clients whose access ends within 14 days, because their validity or the key on their device ends.",
    )
    .sample(&[], status.expiring.len());
    page.gauge(
        "vmsgate_clients_expired",
        "Clients whose validity is over, without those suspended or revoked.",
    )
    .sample(&[], status.expired);
    let mut next = page.gauge(
        "vmsgate_clients_next_end_timestamp_seconds",
        "When the next client loses its access; no sample while no end is set.",
    );
    if let Some(end) = status.next_end {
        next.sample(&[], end.as_second());
    }
    let mut identities = page.gauge("vmsgate_identities", "Key pairs of the gateway that answer.");
    for state in ["active", "retiring"] {
        let count = status.identities.iter().filter(|identity| identity.state == state).count();
        identities.sample(&[("state", state)], count);
    }
    let mut requests = page.counter(
        "vmsgate_key_requests_total",
        "Requests of clients about their keys, by what became of them.",
    );
    for (request, results) in &status.key_requests {
        for (result, count) in results {
            requests.sample(&[("request", request), ("result", result)], count);
        }
    }
    limits(&mut page, &status.totals);
    page.into_text()
}

/// What came up against a limit.
fn limits(page: &mut Exposition, totals: &Totals) {
    let count =
        |counts: &BTreeMap<String, u64>, reason: &str| counts.get(reason).copied().unwrap_or_default();
    page.counter(
        "vmsgate_limited_total",
        "Times that a limit held a client back: flows refused, packets dropped or waits of connections for bandwidth, \
         handshakes not answered.",
    )
    .sample(&[("limit", "flows")], count(&totals.flows_refused, "flow-limit"))
    .sample(&[("limit", "new-flows")], count(&totals.flows_refused, "new-flow-limit"))
    .sample(&[("limit", "bandwidth-drop")], count(&totals.drops, "bandwidth"))
    .sample(&[("limit", "bandwidth-wait")], totals.bandwidth_waits)
    .sample(&[("limit", "handshakes")], count(&totals.handshakes_rejected, "rate-limited"));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::{body::Body, http::Request, http::StatusCode};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::admin::status::{IdentityStatus, SessionStatus, example, status_channel};

    fn busy() -> Status {
        let mut status = example();
        let stock = SessionStatus { post_quantum: false, ..status.sessions[0].clone() };
        status.sessions.extend([stock.clone(), stock]);
        status.expired = 4;
        status.next_end = Some("2026-01-02T03:04:05.678Z".parse().unwrap());
        let identity = |state: &str| IdentityStatus {
            fingerprint: "0123456789abcdef".to_owned(),
            state: state.to_owned(),
            sessions: 1,
        };
        status.identities = vec![identity("retiring"), identity("active")];
        let counts = |counts: &[(&str, u64)]| counts.iter().map(|(key, n)| ((*key).to_owned(), *n)).collect();
        status.totals.bandwidth_waits = 9;
        status.totals.drops = counts(&[("bandwidth", 8)]);
        status.totals.flows_refused = counts(&[("flow-limit", 7), ("new-flow-limit", 6)]);
        status.totals.handshakes_rejected = counts(&[("rate-limited", 5)]);
        status.key_requests =
            [("psk".to_owned(), counts(&[("ok", 12), ("too-often", 1)]))].into_iter().collect();
        status
    }

    /// What a metric is, as the page or the documentation says.
    #[derive(Debug, PartialEq, Eq)]
    struct Description {
        kind: String,
        labels: BTreeSet<String>,
        meaning: String,
    }

    fn served(page: &str) -> BTreeMap<String, Description> {
        let mut metrics: BTreeMap<String, Description> = BTreeMap::new();
        for line in page.lines() {
            if let Some((name, meaning)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '))
            {
                let meaning = meaning.to_owned();
                let description = Description { kind: String::new(), labels: BTreeSet::new(), meaning };
                assert!(metrics.insert(name.to_owned(), description).is_none(), "{name} is there twice");
            } else if let Some((name, kind)) =
                line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
            {
                metrics.get_mut(name).unwrap().kind = kind.to_owned();
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                let labels = labels.split('"').step_by(2).filter_map(|part| part.strip_suffix('='));
                let labels = labels.map(|label| label.trim_start_matches(',').to_owned());
                metrics.get_mut(name).unwrap().labels.extend(labels);
            }
        }
        metrics
    }

    fn documented(text: &str) -> BTreeMap<String, Description> {
        let rows = text.lines().filter(|line| line.starts_with("| `vmsgate_"));
        let description = |row: &str| {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            let [name, kind, _unit, labels, meaning] = cells[..] else { panic!("{row}") };
            let labels = labels.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect();
            let described = Description { kind: kind.to_owned(), labels, meaning: meaning.to_owned() };
            (name.trim_matches('`').to_owned(), described)
        };
        rows.map(description).collect()
    }

    #[test]
    fn every_metric_is_documented_and_every_documented_one_is_served() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        assert_eq!(documented(&std::fs::read_to_string(path).unwrap()), served(&page(&busy())));
    }

    #[test]
    fn names_are_what_prometheus_expects() {
        for (name, metric) in served(&page(&busy())) {
            assert!(name.starts_with("vmsgate_"), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == "counter", "{name}");
        }
    }

    #[test]
    fn the_numbers_are_those_of_the_status() {
        let page = page(&busy());
        for line in [
            "vmsgate_sessions{post_quantum=\"true\"} 1",
            "vmsgate_sessions{post_quantum=\"false\"} 2",
            "vmsgate_clients_expiring 0",
            "vmsgate_clients_expired 4",
            "vmsgate_clients_next_end_timestamp_seconds 1767323045",
            "vmsgate_identities{state=\"active\"} 1",
            "vmsgate_identities{state=\"retiring\"} 1",
            "vmsgate_key_requests_total{request=\"psk\",result=\"ok\"} 12",
            "vmsgate_key_requests_total{request=\"psk\",result=\"too-often\"} 1",
            "vmsgate_limited_total{limit=\"flows\"} 7",
            "vmsgate_limited_total{limit=\"new-flows\"} 6",
            "vmsgate_limited_total{limit=\"bandwidth-drop\"} 8",
            "vmsgate_limited_total{limit=\"bandwidth-wait\"} 9",
            "vmsgate_limited_total{limit=\"handshakes\"} 5",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is missing:\n{page}");
        }
    }

    #[test]
    fn no_client_is_named_and_without_an_end_there_is_no_time_of_it() {
        let page = page(&example());
        for personal in ["anna", "Anna", "smart-client", "203.0.113.7", "10.99.0.2"] {
            assert!(!page.contains(personal), "{page}");
        }
        assert!(!page.contains("\nvmsgate_clients_next_end_timestamp_seconds "), "{page}");
    }

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
            reply.send(busy()).unwrap();
        };
        let (first, ()) = tokio::join!(scrape(&router), answer);
        assert_eq!((first.0, first.1.as_str()), (StatusCode::OK, CONTENT_TYPE));
        assert_eq!(first.2, page(&busy()));
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
