//! Which records are about a person.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    db::Database,
    event::{Admin, Event},
    record::Entry,
    store::StoreError,
    text::{Label, Snapshot},
};

/// The clients that an operator had a session with.
pub(crate) async fn clients_of(db: &Database, operator: &Label) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT DISTINCT client FROM audit_session WHERE operator = $1 ORDER BY client";
    let clients = sqlx::query_scalar(sql).bind(operator.as_str()).fetch_all(db.pool()).await;
    clients.map_err(|e| db.explain(e).into())
}

/// A person, and the clients known to be theirs so far.
pub(crate) struct Subject<'a> {
    operator: &'a str,
    clients: BTreeSet<String>,
}

impl<'a> Subject<'a> {
    pub(crate) fn new(operator: &'a Label, clients: &[String]) -> Self {
        Self { operator: operator.as_str(), clients: clients.iter().cloned().collect() }
    }

    /// A client's name leads to its sessions only under this person: it may have had another owner.
    pub(crate) fn includes(&mut self, entry: &Entry) -> bool {
        match &entry.record.event {
            Event::Admin(admin) => self.includes_admin(admin),
            Event::HandshakeRejected(rejected) => {
                rejected.client.as_ref().is_some_and(|client| self.clients.contains(client.as_str()))
            }
            event => event.session().is_some_and(|session| session.operator.as_str() == self.operator),
        }
    }

    /// An act on one of their clients, or one that names them: also the questions that others asked about them.
    fn includes_admin(&mut self, admin: &Admin) -> bool {
        let states = || [&admin.before, &admin.after].into_iter().flatten().map(Snapshot::value);
        let owns = |state: &Value| state.get("operator").and_then(Value::as_str) == Some(self.operator);
        if admin.act.as_str().starts_with("client.") && states().any(owns) {
            self.clients.insert(admin.object.as_str().to_owned());
        }
        self.clients.contains(admin.object.as_str()) || states().any(|state| self.is_named_in(state))
    }

    fn is_named_in(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => text == self.operator || self.clients.contains(text),
            Value::Array(items) => items.iter().any(|item| self.is_named_in(item)),
            Value::Object(members) => members.values().any(|member| self.is_named_in(member)),
            _ => false,
        }
    }
}
