//! How often clients asked for something about their keys, and what came of it. Counted once per request, never on the
//! way of a packet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::http::HttpError;

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyRequest {
    Enroll,
    Keys,
    Psk,
}

impl KeyRequest {
    const ALL: [Self; 3] = [Self::Enroll, Self::Keys, Self::Psk];

    /// The end of its path.
    fn as_str(self) -> &'static str {
        match self {
            Self::Enroll => "enroll",
            Self::Keys => "keys",
            Self::Psk => "psk",
        }
    }
}

/// Counts by request and result. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct KeyRequests(Arc<Mutex<BTreeMap<(KeyRequest, &'static str), u64>>>);

impl KeyRequests {
    const OK: &'static str = "ok";

    pub(super) fn count<T>(&self, request: KeyRequest, result: &Result<T, HttpError>) {
        let result = result.as_ref().err().map_or(Self::OK, HttpError::code);
        // A panic elsewhere cannot have left half of a count.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry((request, result)).or_default() += 1;
    }

    /// For each request how often it had which result: `ok`, or the code of the error.
    pub fn totals(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let unused = |request: KeyRequest| (request.as_str().to_owned(), [(Self::OK.to_owned(), 0)].into());
        let mut totals: BTreeMap<String, BTreeMap<String, u64>> = KeyRequest::ALL.map(unused).into();
        for ((request, result), count) in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let results = totals.entry(request.as_str().to_owned()).or_default();
            results.insert((*result).to_owned(), *count);
        }
        totals
    }
}
