use vmsgate_audit::{Create, Database};

use crate::{
    records::{admin_records, site_with_records},
    site::json,
};

#[tokio::test]
async fn csv_has_stable_columns_plain_numbers_and_utc_times() {
    let site = site_with_records().await;
    let sessions = site.vmsgate(&["sessions", "--csv", "--client", "anna-laptop"]);
    assert_eq!(
        sessions,
        "exit 0\n-- out\n\
         session,gateway,client,operator,role,key,source,tunnel,opened,ended,reason,last_seen,from_client_bytes,\
         from_client_packets,to_client_bytes,to_client_packets,policy,continues\r\n\
         00000000-0000-0000-0000-000000000001,gw-1,anna-laptop,Anna Berg,smart-client,0123456789abcdef,\
         203.0.113.7:40000,10.99.0.2,2026-03-01T09:30:00.000Z,2026-03-01T09:31:01.000Z,idle,\
         2026-03-01T09:31:01.000Z,1500,10,2000000,1500,,\r\n-- err\n"
    );
    for command in ["flows", "denials"] {
        let csv = site.vmsgate(&[command, "--csv"]);
        let lines: Vec<_> = csv.lines().filter(|line| line.contains(',')).collect();
        let columns = |line: &str| line.matches(',').count();
        assert_eq!((lines.len(), columns(lines[0])), (2, columns(lines[1])), "{csv}");
    }
    let both = site.vmsgate(&["--json", "sessions", "--csv"]);
    assert!(
        both.starts_with("exit 1\n-- out\n-- err\nerror: --csv and --json exclude each other\n"),
        "{both}"
    );
}

#[tokio::test]
async fn one_id_and_one_reason_narrow() {
    let site = site_with_records().await;
    let id = "00000000-0000-0000-0000-000000000001";
    let rows = |args: &[&str]| json(&site.vmsgate(args))["rows"].as_array().unwrap().len();
    assert_eq!(rows(&["flows", "--json", "--session", id]), 1);
    assert_eq!(rows(&["denials", "--json", "--session", id]), 1);
    assert_eq!(rows(&["denials", "--json", "--reason", "never-exposed"]), 1);
    assert_eq!(rows(&["denials", "--json", "--reason", "no-rule"]), 0);
}

#[tokio::test]
async fn who_names_the_person_behind_an_address_and_port() {
    let site = site_with_records().await;
    let at = ["--at", "2026-03-01T10:30:30+01:00"];
    let who = |address: &str| site.vmsgate(&[&["who", address], &at[..]].concat());
    let found = who("10.99.0.2:50000");
    assert!(found.starts_with("exit 0\n"), "{found}");
    assert!(
        found.contains("yes (tunnel address)  Anna Berg  anna-laptop  smart-client  tcp/7563 on rec01"),
        "{found}"
    );
    assert!(who("203.0.113.7").contains("address only (internet address)  Anna Berg"), "{found}");
    assert_eq!(who("192.0.2.1"), "exit 1\n-- out\n-- err\nnobody\n");
    let local = site.vmsgate(&["who", "10.99.0.2:50000", "--at", "2026-03-01 09:30:30", "--json"]);
    assert_eq!(json(&local)["rows"][0]["certainty"], "exact");
}

#[tokio::test]
async fn every_question_is_itself_on_record() {
    let site = site_with_records().await;
    site.vmsgate(&["sessions", "--operator", "Anna Berg"]);
    site.vmsgate(&["flows", "--json"]);
    site.vmsgate(&["denials", "--csv", "--server", "mgmt"]);
    site.vmsgate(&["who", "203.0.113.7", "--at", "2026-03-01T09:30:30Z"]);
    let admin = admin_records(&site).await;
    let said: Vec<_> = admin
        .iter()
        .map(|record| {
            let after = record.after.as_ref().unwrap().value();
            (record.act.as_str(), record.object.as_str(), after["rows"].as_u64().unwrap())
        })
        .collect();
    let expected = [("sessions", 1), ("flows", 1), ("denials", 1), ("who", 2)];
    assert_eq!(said, expected.map(|(command, rows)| ("audit.read", command, rows)));
    let after = admin[0].after.as_ref().unwrap().value();
    assert_eq!(after["filters"], serde_json::json!({"operator": "Anna Berg", "limit": 100}));
    assert!(admin[0].actor.as_str().contains("uid "), "{admin:?}");
}

#[tokio::test]
async fn a_log_that_cannot_be_written_is_read_all_the_same_and_the_reader_is_told() {
    let site = site_with_records().await;
    let database = Database::open(&site.data().database(), Create::No).await.unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON audit_record BEGIN SELECT RAISE(ABORT, 'no room'); END";
    sqlx::query(full).execute(database.pool()).await.unwrap();
    let outcome = site.vmsgate(&["sessions"]);
    assert!(outcome.starts_with("exit 0\n-- out\nOPENED"), "{outcome}");
    assert!(outcome.contains("\nwarning: this reading is not on record: "), "{outcome}");
}
