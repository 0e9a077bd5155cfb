use std::fs;

use vmsgate_audit::{Chain, Create, Database, Event, Label, Record, Snapshot, append, event::Admin};

use crate::{
    records::{admin_records, at, session, site_with_records},
    site::Site,
};

const PERIOD: [&str; 4] = ["--since", "2026-03-01", "--until", "2026-03-02"];

async fn add(site: &Site, chain: Chain, records: &[Record]) {
    let database = Database::open(&site.data().database(), Create::No).await.unwrap();
    let mut tx = database.begin_write().await.unwrap();
    append(&mut tx, &chain, records).await.unwrap();
    database.commit(tx).await.unwrap();
}

fn admin(seconds: i64, act: &str, object: &str) -> Record {
    let state =
        |state: &str| Snapshot::of(&serde_json::json!({"state": state, "role": "smart-client"})).unwrap();
    let event = Admin {
        act: Label::new(act),
        actor: Label::new("carol (uid 1000)"),
        object: Label::new(object),
        before: Some(state("active")),
        after: Some(state("suspended")),
    };
    Record::new(at(seconds), Event::Admin(event))
}

/// The outcome and the page.
fn report(site: &Site, out: &str, args: &[&str]) -> (String, String) {
    let outcome = site.vmsgate(&[&["audit", "report", "--out", out], &PERIOD[..], args].concat());
    (outcome, fs::read_to_string(site.path(out)).unwrap_or_default())
}

#[tokio::test]
async fn a_report_tells_who_when_how_much_where_and_what_was_refused() {
    let site = site_with_records().await;
    add(&site, Chain::admin(), &[admin(5, "client.suspend", "anna-laptop")]).await;
    site.vmsgate(&["sessions"]);
    let (outcome, page) = report(&site, "report.html", &[]);
    assert_eq!(outcome, "exit 0\n-- out\n-- err\nreport.html written\n");
    for told in [
        "2026-03-01 00:00:00 UTC to 2026-03-02 00:00:00 UTC, everybody and every server",
        "The log behind this report is proven.",
        "gateway/gw-1: ",
        "<bdi>Anna Berg</bdi></td><td><bdi>anna-laptop</bdi></td><td><bdi>smart-client</bdi></td><td class=\"n\">1</td><td class=\"n\">1m 1s</td><td class=\"n\">2.0 MB</td><td class=\"n\">1.5 kB</td>",
        "<bdi>rec01</bdi></td><td><bdi>recording-server</bdi>",
        "<bdi>tcp/1433 on mgmt</bdi></td><td><bdi>never-exposed</bdi>",
        "<bdi>state: &quot;active&quot;</bdi></code></td><td><code><bdi>state: &quot;suspended&quot;</bdi>",
        "anna-laptop, Anna Berg: 2026-03-01 09:30:00 UTC to 2026-03-01 09:31:01 UTC</title>",
    ] {
        assert!(page.contains(told), "{told} in {page}");
    }
    assert!(!page.contains("role: "), "only what an act changed: {page}");
    let records = admin_records(&site).await;
    assert_eq!(records.last().unwrap().act.as_str(), "audit.report");
}

#[tokio::test]
async fn a_report_on_one_person_or_server_says_nothing_of_others() {
    let site = site_with_records().await;
    let (_, page) = report(&site, "anna.html", &["--operator", "Anna Berg"]);
    assert!(page.contains("operator <b><bdi>Anna Berg</bdi></b>") && !page.contains("bo-pc"), "{page}");
    let (_, page) = report(&site, "bo.html", &["--client", "bo-pc"]);
    assert!(page.contains("bo-pc") && !page.contains("Anna") && !page.contains("1433"), "{page}");
    let (_, page) = report(&site, "rec.html", &["--server", "rec01"]);
    assert!(page.contains("Anna Berg") && !page.contains("1433"), "{page}");
}

#[tokio::test]
async fn hostile_names_are_text_on_the_page_and_it_refers_to_nothing() {
    let site = site_with_records().await;
    let name = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}\nx";
    let subject = session(7, name, name);
    let opened =
        Event::SessionOpened(vmsgate_audit::event::SessionOpened { session: subject, continues: None });
    add(&site, Chain::gateway("gw-1"), &[Record::new(at(100), opened)]).await;
    add(&site, Chain::admin(), &[admin(5, name, name)]).await;
    let (_, page) = report(&site, "report.html", &[]);
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&gt;&lt;img"), "{page}");
    for forbidden in
        ["<script", "<img", "\u{202e}", "http://", "https://", "url(", "href", "src=\"", "@import", "<link"]
    {
        assert!(!page.contains(forbidden), "{forbidden} in {page}");
    }
}

#[tokio::test]
async fn a_report_on_an_altered_log_says_so_and_is_no_success() {
    let site = site_with_records().await;
    let database = Database::open(&site.data().database(), Create::No).await.unwrap();
    let edit = "UPDATE audit_record SET body = replace(body, 'Anna Berg', 'Anna Borg') WHERE seq = 2";
    sqlx::query(edit).execute(database.pool()).await.unwrap();
    database.close().await;
    let (outcome, page) = report(&site, "report.html", &[]);
    assert!(outcome.starts_with("exit 1\n"), "{outcome}");
    assert!(page.contains("The log behind this report is not proven."), "{page}");
    assert!(page.contains("NOT PROVEN at record 2"), "{page}");
}

#[tokio::test]
async fn an_empty_period_makes_a_page_that_says_so() {
    let site = site_with_records().await;
    let outcome = site.vmsgate(&[
        "audit",
        "report",
        "--since",
        "2020-01-01",
        "--until",
        "2020-02-01",
        "--out",
        "r.html",
    ]);
    assert!(outcome.starts_with("exit 0\n"), "{outcome}");
    let page = fs::read_to_string(site.path("r.html")).unwrap();
    assert!(page.contains("Nobody was connected.") && page.contains("Nothing was refused."), "{page}");
}
