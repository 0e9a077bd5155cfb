//! How fast the way is.

use super::*;

fn upload(headers: &[(&str, &str)], body: Vec<u8>) -> Request<Body> {
    let request = Request::post("/v1/speed").header("Host", "10.99.0.1");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(body.into()).unwrap()
}

#[tokio::test]
async fn a_device_gets_as_many_bytes_as_it_asks_for_up_to_a_limit() {
    let (asking, _) = mpsc::channel(1);
    let state = state();
    let request = |bytes: &str| {
        let request = Request::get(format!("/v1/speed?bytes={bytes}")).header("Host", "10.99.0.1");
        request.body(Body::empty()).unwrap()
    };
    for bytes in [1, 16 << 10, 1_000_001, 8 << 20] {
        let exchange = Exchange { caller: caller("gone"), state: state.clone(), asking: asking.clone() };
        let response = router(exchange).oneshot(request(&bytes.to_string())).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len(), bytes);
    }
    for bytes in ["0", "8388609", "-1", "many", ""] {
        let (status, body) = respond(caller("narrow"), state.clone(), request(bytes)).await;
        assert_eq!((status, &body["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("malformed")));
    }
}

#[tokio::test]
async fn what_a_device_sends_is_counted_and_bounded_before_it_comes() {
    let bytes = ("content-type", "application/octet-stream");
    let answer =
        respond(caller("narrow"), state(), upload(&[bytes, ("content-length", "1000")], vec![7; 1000])).await;
    assert_eq!(answer, (StatusCode::OK, json!({"bytes": 1000})));
    for (headers, status) in [
        (vec![("content-length", "1000")], StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (
            vec![("content-type", "text/plain"), ("content-length", "1000")],
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (vec![bytes], StatusCode::PAYLOAD_TOO_LARGE),
        (vec![bytes, ("content-length", "8388609")], StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        assert_eq!(
            respond(caller("narrow"), state(), upload(&headers, vec![7; 1000])).await.0,
            status,
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn a_device_that_measures_without_end_is_refused_and_an_invitation_always() {
    let state = state();
    let headers = [("content-type", "application/octet-stream"), ("content-length", "8388608")];
    let mut refused = None;
    for _ in 0..10 {
        let (status, body) =
            respond(caller("narrow"), state.clone(), upload(&headers, vec![0; 8 << 20])).await;
        if status != StatusCode::OK {
            refused = Some((status, body["error"]["code"].clone()));
        }
    }
    assert_eq!(refused, Some((StatusCode::TOO_MANY_REQUESTS, json!("too-often"))));
    let (status, body) = respond(invited(), state, upload(&headers, vec![])).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::FORBIDDEN, &json!("invitation")));
}
