//! Requests about keys.

use tokio::sync::oneshot;
use vmsgate_exchange::body::{Enrolled, MAX_REQUEST_BYTES};
use vmsgate_exchange::{Agreed, Binding, GATEWAY_ADDRESS, Offer, Purpose};

use super::*;
use crate::control::ask::Ask;

/// A public key as `wg` writes it.
const NEW_KEY: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";

fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(path).header("Host", "10.99.0.1");
    request.header("Content-Type", "application/json; charset=utf-8").body(body.into()).unwrap()
}

fn new_key(offer: &Offer) -> String {
    let encapsulation_key = offer.encapsulation_key();
    json!({"schema_version": 1, "public_key": NEW_KEY, "encapsulation_key": encapsulation_key}).to_string()
}

fn binding(purpose: Purpose, client: &PublicKey) -> Binding<'_> {
    Binding { purpose, carrier: &[1; 32], client: client.as_bytes(), gateway: &[3; 32] }
}

/// Asks, and answers what the interface asks for first with `granted`; also what that was. Nobody answers the rest.
async fn grant<T>(
    caller: Caller,
    request: Request<Body>,
    granted: impl FnOnce(Ask) -> T,
) -> ((StatusCode, Value), T) {
    let (asking, mut asks) = mpsc::channel(1);
    let exchange = Exchange { caller, state: state(), asking };
    let granting = async {
        let granted = granted(asks.recv().await.unwrap());
        drop(asks);
        granted
    };
    tokio::join!(answered(exchange, request), granting)
}

fn accept(offer: Offer, answer: &Value, binding: &Binding<'_>) -> Agreed {
    offer.accept(answer["ciphertext"].as_str().unwrap(), binding).unwrap()
}

#[tokio::test]
async fn a_device_registers_a_new_key_with_a_pre_shared_key_that_both_sides_have() {
    let (offer, key) = (Offer::new(), NEW_KEY.parse::<PublicKey>().unwrap());
    let (answer, theirs) = grant(caller("narrow"), post("/v1/keys", new_key(&offer)), |ask| {
        let Ask::Offer { new, reply } = ask else { panic!("{ask:?}") };
        reply.send(Ok(())).unwrap();
        assert_eq!(new.public_key, key);
        new.preshared
    })
    .await;
    assert_eq!(answer.0, StatusCode::OK);
    assert_eq!(&*accept(offer, &answer.1, &binding(Purpose::Rotation, &key)), theirs.as_bytes());
}

/// What the gateway is asked for with a rotation, when the registry answers so.
async fn asked_for(registered: Result<(), HttpError>) -> Vec<Ask> {
    let (asking, mut asks) = mpsc::channel(1);
    let exchange = Exchange { caller: caller("narrow"), state: state(), asking };
    let answering = async {
        let Some(Ask::Offer { new, reply }) = asks.recv().await else { panic!("no offer") };
        reply.send(registered).unwrap();
        let mut rest = Vec::new();
        while let Some(ask) = asks.recv().await {
            let Ask::Agree { key, preshared, reply } = ask else { panic!("{ask:?}") };
            assert_eq!((key, &*preshared), (new.public_key, new.preshared.as_bytes()));
            reply.send(Ok(())).unwrap();
            rest.push(Ask::Agree { key, preshared, reply: oneshot::channel().0 });
        }
        rest
    };
    tokio::join!(answered(exchange, post("/v1/keys", new_key(&Offer::new()))), answering).1
}

#[tokio::test]
async fn the_pre_shared_key_of_a_new_key_counts_as_agreed_once_it_is_registered() {
    assert_eq!(asked_for(Ok(())).await.len(), 1);
    let refused = HttpError::new(StatusCode::CONFLICT, "key-taken", "taken");
    assert!(asked_for(Err(refused)).await.is_empty());
}

#[tokio::test]
async fn requests_are_counted_by_what_became_of_them() {
    let state = state();
    let ask = |path: &'static str, body: String| {
        let (asking, mut asks) = mpsc::channel(1);
        let exchange = Exchange { caller: caller("narrow"), state: state.clone(), asking };
        let granting = async move {
            if let Some(Ask::Agree { reply, .. }) = asks.recv().await {
                reply.send(Ok(())).unwrap();
            }
        };
        async move { tokio::join!(answered(exchange, post(path, body)), granting).0 }
    };
    let renewal =
        json!({"schema_version": 1, "encapsulation_key": Offer::new().encapsulation_key()}).to_string();
    assert_eq!(ask("/v1/psk", renewal).await.0, StatusCode::OK);
    assert_eq!(ask("/v1/psk", "{}".to_owned()).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(ask("/v1/keys", "{}".to_owned()).await.0, StatusCode::BAD_REQUEST);
    let totals = state.key_requests.totals();
    assert_eq!(
        serde_json::to_value(totals).unwrap(),
        json!({
            "enroll": {"ok": 0},
            "keys": {"ok": 0, "malformed": 1},
            "psk": {"ok": 1, "malformed": 1},
        })
    );
}

#[tokio::test]
async fn a_device_renews_the_pre_shared_key_of_the_key_that_it_has() {
    let offer = Offer::new();
    let body = json!({"schema_version": 1, "encapsulation_key": offer.encapsulation_key()}).to_string();
    let (answer, theirs) = grant(caller("narrow"), post("/v1/psk", body), |ask| {
        let Ask::Agree { key, preshared, reply } = ask else { panic!("{ask:?}") };
        reply.send(Ok(())).unwrap();
        assert_eq!(key, caller("narrow").key);
        preshared
    })
    .await;
    assert_eq!(answer.0, StatusCode::OK);
    let own = caller("narrow").key;
    assert_eq!(accept(offer, &answer.1, &binding(Purpose::Renewal, &own)), theirs);
}

#[tokio::test]
async fn an_invitation_gets_all_that_a_configuration_says() {
    let (offer, key) = (Offer::new(), NEW_KEY.parse::<PublicKey>().unwrap());
    let mut request = post("/v1/enroll", new_key(&offer));
    let host = format!("[{GATEWAY_ADDRESS}]").parse().unwrap();
    request.headers_mut().insert("Host", host);
    let (answer, theirs) = grant(invited(), request, |ask| {
        let Ask::Enrol { new, reply } = ask else { panic!("{ask:?}") };
        reply.send(Ok(enrolled())).unwrap();
        new.preshared
    })
    .await;
    assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
    assert_eq!(&*accept(offer, &answer.1, &binding(Purpose::Enrolment, &key)), theirs.as_bytes());
    let Enrolled { client, gateway_key, .. } = serde_json::from_value(answer.1).unwrap();
    assert_eq!((client.as_str(), gateway_key.as_str()), ("anna-laptop", IDENTITY));
}

#[tokio::test]
async fn an_invitation_reaches_enrolment_alone_and_a_device_all_else() {
    let elsewhere = [
        Request::get("/v1/profile").header("Host", "10.99.0.1").body(Body::empty()).unwrap(),
        post("/v1/keys", new_key(&Offer::new())),
        post("/v1/psk", "{}"),
        post("/v1/nothing", "{}"),
    ];
    for request in elsewhere {
        let path = request.uri().clone();
        let (status, body) = respond(invited(), state(), request).await;
        assert_eq!((status, &body["error"]["code"]), (StatusCode::FORBIDDEN, &json!("invitation")), "{path}");
    }
    let (status, body) = respond(caller("narrow"), state(), post("/v1/enroll", new_key(&Offer::new()))).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::FORBIDDEN, &json!("enrolled")));
}

#[tokio::test]
async fn what_is_no_request_is_refused_before_anybody_is_asked() {
    let good = new_key(&Offer::new());
    let weak = json!({"schema_version": 1, "public_key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "encapsulation_key": Offer::new().encapsulation_key()});
    let later = good.replace("\"schema_version\":1", "\"schema_version\":2");
    let without_key = json!({"schema_version": 1, "public_key": NEW_KEY, "encapsulation_key": "AAAA"});
    let bodies = [
        (String::new(), StatusCode::BAD_REQUEST, "malformed"),
        ("{}".to_owned(), StatusCode::BAD_REQUEST, "malformed"),
        (weak.to_string(), StatusCode::BAD_REQUEST, "malformed"),
        (without_key.to_string(), StatusCode::BAD_REQUEST, "malformed"),
        (later, StatusCode::BAD_REQUEST, "unsupported-version"),
        (format!("{good}{}", " ".repeat(MAX_REQUEST_BYTES)), StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
    ];
    for (body, status, code) in bodies {
        let (answer, error) = respond(caller("narrow"), state(), post("/v1/keys", body.clone())).await;
        assert_eq!((answer, error["error"]["code"].as_str()), (status, Some(code)), "{body:.60}");
    }
    let mut form = post("/v1/keys", good.clone());
    form.headers_mut().insert("Content-Type", "text/plain".parse().unwrap());
    let (status, _) = respond(caller("narrow"), state(), form).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let mut by_name = post("/v1/keys", good);
    by_name.headers_mut().insert("Host", "evil.example.org".parse().unwrap());
    let (status, _) = respond(caller("narrow"), state(), by_name).await;
    assert_eq!(status, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn a_refusal_is_passed_on_and_a_lost_reply_says_try_again() {
    let refused = |ask: Ask| {
        let Ask::Offer { reply, .. } = ask else { panic!("{ask:?}") };
        reply.send(Err(HttpError::new(StatusCode::CONFLICT, "key-taken", "taken"))).unwrap();
    };
    let request = || post("/v1/keys", new_key(&Offer::new()));
    let ((status, body), ()) = grant(caller("narrow"), request(), refused).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::CONFLICT, &json!("key-taken")));
    let ((status, body), ()) = grant(caller("narrow"), request(), drop).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable")));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_is_cut() {
    let (mut peer, io) = tokio::io::duplex(1024);
    let (asking, _asks) = mpsc::channel(1);
    let (done, served) = oneshot::channel();
    tokio::spawn(async move {
        serve_http(io, caller("narrow"), state(), asking).await;
        let _ = done.send(());
    });
    let head = b"POST /v1/keys HTTP/1.1\r\nHost: 10.99.0.1\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n";
    peer.write_all(head).await.unwrap();
    let trickle = async {
        while peer.write_all(b"{").await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    };
    let limit = std::time::Duration::from_secs(60);
    tokio::time::timeout(limit, trickle).await.expect("the connection is cut");
    served.await.unwrap();
}

fn enrolled() -> Enrolled {
    Enrolled {
        schema_version: 1,
        ciphertext: String::new(),
        client: "anna-laptop".to_owned(),
        operator: "Anna Berg".to_owned(),
        role: "narrow".to_owned(),
        expires: None,
        addresses: vec!["10.99.0.2".parse().unwrap()],
        gateway_name: "gw-1".to_owned(),
        gateway_key: IDENTITY.to_owned(),
        endpoints: vec!["vpn.example.org:51820".to_owned()],
        gateway_addresses: vec!["10.99.0.1".parse().unwrap()],
        dns_suffix: None,
        reachable: vec!["192.168.10.10/32".parse().unwrap()],
        mtu: 1420,
    }
}
