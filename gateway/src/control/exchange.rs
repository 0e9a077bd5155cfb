//! `POST /v1/enroll`, `/v1/keys` and `/v1/psk`: how keys change through the tunnel.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use tokio::sync::oneshot;
use vmsgate_exchange::body::{Answer, Enrolled, NewKey, NewPresharedKey, SCHEMA_VERSION, code};
use vmsgate_exchange::{Agreed, Binding, Purpose, answer};
use vmsgate_keys::{PresharedKey, PublicKey};
use vmsgate_tunnel::noise::Preshared;

use super::ask::{Ask, KeyOffer, Reply};
use super::http::Exchange;
use super::requests::KeyRequest;
use crate::http::{HttpError, json_body};

pub(super) async fn enroll(
    State(exchange): State<Arc<Exchange>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Enrolled>, HttpError> {
    let outcome = async {
        let (ciphertext, new) = exchange.new_key(Purpose::Enrolment, json_body(&headers, body).await?)?;
        let enrolled = exchange.ask(|reply| Ask::Enrol { new, reply }).await?;
        Ok(Json(Enrolled { ciphertext, ..enrolled }))
    };
    exchange.counted(KeyRequest::Enroll, outcome.await)
}

pub(super) async fn keys(
    State(exchange): State<Arc<Exchange>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Answer>, HttpError> {
    let outcome = async {
        let (ciphertext, new) = exchange.new_key(Purpose::Rotation, json_body(&headers, body).await?)?;
        let (key, preshared) = (new.public_key, Preshared::from(*new.preshared.as_bytes()));
        exchange.ask(|reply| Ask::Offer { new, reply }).await?;
        // It comes from ML-KEM and this session as well: a role that insists on that lets connections go on. A client
        // whose session is over has none to go on with.
        let _ = exchange.ask(|reply| Ask::Agree { key, preshared, reply }).await;
        Ok(Json(Answer { schema_version: SCHEMA_VERSION, ciphertext }))
    };
    exchange.counted(KeyRequest::Keys, outcome.await)
}

pub(super) async fn psk(
    State(exchange): State<Arc<Exchange>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Answer>, HttpError> {
    let outcome = async {
        let NewPresharedKey { schema_version, encapsulation_key } = json_body(&headers, body).await?;
        check_version(schema_version)?;
        let key = exchange.caller.key;
        let (ciphertext, preshared) = exchange.agree(Purpose::Renewal, &key, &encapsulation_key)?;
        exchange.ask(|reply| Ask::Agree { key, preshared, reply }).await?;
        Ok(Json(Answer { schema_version: SCHEMA_VERSION, ciphertext }))
    };
    exchange.counted(KeyRequest::Psk, outcome.await)
}

impl Exchange {
    fn new_key(&self, purpose: Purpose, asked: NewKey) -> Result<(String, KeyOffer), HttpError> {
        check_version(asked.schema_version)?;
        let public_key: PublicKey = asked.public_key.parse().map_err(malformed)?;
        let (ciphertext, agreed) = self.agree(purpose, &public_key, &asked.encapsulation_key)?;
        Ok((ciphertext, KeyOffer { public_key, preshared: PresharedKey::from_bytes(*agreed) }))
    }

    /// `client`: the key that the result will be used with.
    fn agree(
        &self,
        purpose: Purpose,
        client: &PublicKey,
        encapsulation_key: &str,
    ) -> Result<(String, Agreed), HttpError> {
        let binding = Binding {
            purpose,
            carrier: &self.caller.registered,
            client: client.as_bytes(),
            gateway: self.caller.identity.as_bytes(),
        };
        answer(encapsulation_key, &binding).map_err(malformed)
    }

    fn counted<T>(&self, request: KeyRequest, outcome: Result<T, HttpError>) -> Result<T, HttpError> {
        self.state.key_requests.count(request, &outcome);
        outcome
    }

    async fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<T, HttpError> {
        let (reply, answer) = oneshot::channel();
        self.asking.send(ask(reply)).await.map_err(|_| unavailable())?;
        answer.await.map_err(|_| unavailable())?
    }
}

fn check_version(asked: u32) -> Result<(), HttpError> {
    if asked <= SCHEMA_VERSION {
        return Ok(());
    }
    let message = format!("this gateway understands requests up to form {SCHEMA_VERSION}; update it");
    Err(HttpError::new(StatusCode::BAD_REQUEST, "unsupported-version", message))
}

fn malformed(error: impl std::fmt::Display) -> HttpError {
    HttpError::new(StatusCode::BAD_REQUEST, "malformed", error.to_string())
}

fn unavailable() -> HttpError {
    HttpError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        code::UNAVAILABLE,
        "the gateway is busy or stopping; try again later",
    )
}
