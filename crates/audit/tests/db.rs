//! Opening the database: what is accepted, and what each bad file is called.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    borrow::Cow,
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use sqlx::{
    SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};
use support::*;
use vmsgate_audit::{Create, Database, DbError};

#[tokio::test]
async fn a_new_database_is_readable_by_its_owner_only_and_survives_reopening() {
    let test = TestDb::new().await;
    test.append(&gw1(), &[session_opened(0, 1)]).await;
    for name in ["vmsgate.db", "vmsgate.db-wal", "vmsgate.db-shm"] {
        let mode = fs::metadata(test.path.with_file_name(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let leftovers: Vec<_> = fs::read_dir(test.path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("vmsgate.db"))
        .collect();
    assert_eq!(leftovers, Vec::<String>::new());

    test.db.clone().close().await;
    let again = Database::open(&test.path, Create::No).await.unwrap();
    assert_eq!(vmsgate_audit::entries(&again, &gw1(), 0, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn every_commit_reaches_the_disk_before_it_returns() {
    let test = TestDb::new().await;
    let setting = async |pragma: &'static str| -> String {
        let row = sqlx::query(pragma).fetch_one(test.db.pool()).await.unwrap();
        sqlx::Row::try_get::<String, _>(&row, 0)
            .unwrap_or_else(|_| sqlx::Row::get::<i64, _>(&row, 0).to_string())
    };
    assert_eq!(setting("PRAGMA journal_mode").await, "wal");
    assert_eq!(setting("PRAGMA synchronous").await, "2", "FULL");
    assert_eq!(setting("PRAGMA foreign_keys").await, "1");
    assert_eq!(setting("PRAGMA busy_timeout").await, "10000");
}

#[tokio::test]
async fn any_directory_name_works() {
    for name in ["with space", "question?mark", "hash#", "per%20cent", "ümlaut", "semi;colon'\""] {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join(name);
        fs::create_dir(&dir).unwrap();
        let db = Database::open(&dir.join("vmsgate.db"), Create::Yes).await.unwrap();
        assert!(dir.join("vmsgate.db").is_file(), "{name}");
        db.close().await;
    }
}

#[tokio::test]
async fn each_bad_file_has_its_own_message_and_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };

    let missing = dir.path().join("missing.db");
    assert!(matches!(error(&missing).await, DbError::Missing { .. }));
    assert!(!missing.exists(), "opening does not create");

    let empty = file("empty.db", b"");
    assert!(matches!(error(&empty).await, DbError::Truncated { bytes: 0, .. }));
    let create = Database::open(&empty, Create::Yes).await;
    assert!(matches!(create, Err(DbError::Truncated { .. })), "an empty file was something before");

    let text = file("text.db", "this is not a database\n".repeat(100).as_bytes());
    assert!(matches!(error(&text).await, DbError::NotADatabase { .. }));
    assert!(matches!(error(dir.path()).await, DbError::NotADatabase { .. }));

    let nowhere = dir.path().join("no/such/directory/vmsgate.db");
    let create = Database::open(&nowhere, Create::Yes).await;
    assert!(matches!(create, Err(DbError::Io { .. })), "{create:?}");
}

#[tokio::test]
async fn a_truncated_database_is_called_damaged() {
    let test = TestDb::new().await;
    let records: Vec<_> = (0..200).map(|n| session_opened(n, n as u128)).collect();
    test.append(&gw1(), &records).await;
    test.db.clone().close().await;
    let whole = fs::read(&test.path).unwrap();
    for length in [4096, 10_000, whole.len() / 2, whole.len() - 4096] {
        let path = test.path.with_file_name(format!("cut-{length}.db"));
        fs::write(&path, &whole[..length]).unwrap();
        let error = error(&path).await;
        assert!(matches!(error, DbError::Damaged { .. }), "{length} bytes: {error:?}");
    }
    for length in [1, 15, 50, 99, 511] {
        let path = test.path.with_file_name(format!("cut-{length}.db"));
        fs::write(&path, &whole[..length]).unwrap();
        let error = error(&path).await;
        assert!(matches!(error, DbError::Truncated { .. }), "{length} bytes: {error:?}");
    }
}

#[tokio::test]
async fn the_database_of_another_program_is_left_alone() {
    let test = TestDb::new().await;
    sqlx::query("PRAGMA application_id = 7").execute(test.db.pool()).await.unwrap();
    test.db.clone().close().await;
    assert!(matches!(error(&test.path).await, DbError::Foreign { .. }));
}

#[tokio::test]
async fn the_database_of_a_newer_version_is_refused() {
    let test = TestDb::new().await;
    test.tamper(
        "INSERT INTO _migrations_audit (version, description, success, checksum, execution_time)
         VALUES (9999, 'future', 1, x'00', 0)",
    )
    .await;
    let error = error(&test.path).await;
    assert!(matches!(error, DbError::Newer { component: "audit", version: 9999, .. }), "{error:?}");
    assert!(error.hint().contains("newer"));
}

#[tokio::test]
async fn a_write_protected_database_can_be_read_and_says_that_it_cannot_be_written() {
    let test = TestDb::new().await;
    test.append(&gw1(), &[session_opened(0, 1)]).await;
    // Refused by the database itself, because the permissions of files do not bind root.
    let mut connections = Vec::new();
    for _ in 0..4 {
        let mut connection = test.db.pool().acquire().await.unwrap();
        sqlx::query("PRAGMA query_only = 1").execute(&mut *connection).await.unwrap();
        connections.push(connection);
    }
    drop(connections);
    assert!(matches!(test.db.begin_write().await, Err(DbError::ReadOnly { .. })));
    assert_eq!(test.all(&gw1()).await.len(), 1);
}

#[tokio::test]
async fn whoever_closes_last_leaves_nothing_beside_the_database_and_a_reader_changes_no_copy() {
    let test = TestDb::new().await;
    test.append(&gw1(), &[session_opened(0, 1)]).await;
    // As after a crash: what was not merged into the file yet lies beside it.
    let crashed = tempfile::tempdir().unwrap();
    for name in ["vmsgate.db", "vmsgate.db-wal"] {
        fs::copy(test.path.with_file_name(name), crashed.path().join(name)).unwrap();
    }
    test.db.clone().close().await;
    assert_eq!(files(test.path.parent().unwrap()), ["vmsgate.db"]);

    let whole = fs::read(&test.path).unwrap();
    let reader = Database::open_read_only(&test.path).await.unwrap();
    assert_eq!(vmsgate_audit::entries(&reader, &gw1(), 0, 10).await.unwrap().len(), 1);
    reader.close().await;
    assert_eq!(files(test.path.parent().unwrap()), ["vmsgate.db"]);
    assert!(fs::read(&test.path).unwrap() == whole, "the file is the same, byte by byte");

    let read = |name: &str| fs::read(crashed.path().join(name)).unwrap();
    let before = (read("vmsgate.db"), read("vmsgate.db-wal"));
    let reader = Database::open_read_only(&crashed.path().join("vmsgate.db")).await.unwrap();
    assert_eq!(vmsgate_audit::entries(&reader, &gw1(), 0, 10).await.unwrap().len(), 1);
    reader.close().await;
    assert!((read("vmsgate.db"), read("vmsgate.db-wal")) == before, "evidence stays as it was found");
}

#[tokio::test]
async fn a_database_that_is_refused_is_closed() {
    let test = TestDb::new().await;
    let future = "INSERT INTO _migrations_audit (version, description, success, checksum, execution_time)
         VALUES (9999, 'future', 1, x'00', 0)";
    test.tamper(future).await;
    test.db.clone().close().await;
    assert!(matches!(error(&test.path).await, DbError::Newer { .. }));
    assert_eq!(files(test.path.parent().unwrap()), ["vmsgate.db"]);
}

#[tokio::test]
async fn two_crates_migrate_the_same_database_without_seeing_each_other() {
    let test = TestDb::new().await;
    test.db.migrate("registry", migrator(&[(1, "CREATE TABLE client (name TEXT)")])).await.unwrap();
    test.db.migrate("registry", migrator(&[(1, "CREATE TABLE client (name TEXT)")])).await.unwrap();
    let two = [(1, "CREATE TABLE client (name TEXT)"), (2, "CREATE TABLE key (bytes TEXT)")];
    test.db.migrate("registry", migrator(&two)).await.unwrap();
    sqlx::query("SELECT bytes FROM key").fetch_all(test.db.pool()).await.unwrap();
    Database::open(&test.path, Create::No).await.unwrap();
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing_behind() {
    let test = TestDb::new().await;
    let broken = [(1, "CREATE TABLE one (a TEXT)"), (2, "CREATE TABLE two (")];
    assert!(test.db.migrate("registry", migrator(&broken)).await.is_err());
    assert!(sqlx::query("SELECT * FROM one").fetch_all(test.db.pool()).await.is_err());
    test.db.migrate("registry", migrator(&[(1, "CREATE TABLE one (b TEXT)")])).await.unwrap();
}

#[tokio::test]
async fn many_processes_may_create_the_same_database_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vmsgate.db");
    let open = |n: i64| {
        let path = path.clone();
        tokio::spawn(async move {
            let db = Database::open(&path, Create::Yes).await.unwrap();
            append(&db, &gw1(), &[session_opened(n, n as u128)]).await;
            db.close().await;
        })
    };
    for task in (0..12).map(open).collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let db = Database::open(&path, Create::No).await.unwrap();
    assert_eq!(vmsgate_audit::entries(&db, &gw1(), 0, 100).await.unwrap().len(), 12);
}

#[tokio::test]
async fn a_reader_of_a_current_database_never_waits_for_a_writer() {
    let test = TestDb::new().await;
    let writing = test.db.begin_write().await.unwrap();
    let reader = Database::open(&test.path, Create::No).await.unwrap();
    assert_eq!(vmsgate_audit::entries(&reader, &gw1(), 0, 10).await.unwrap(), []);
    drop(writing);
}

#[tokio::test]
async fn a_link_to_the_database_opens_it() {
    let test = TestDb::new().await;
    let link = test.path.with_file_name("link.db");
    symlink(&test.path, &link).unwrap();
    Database::open(&link, Create::No).await.unwrap();
}

#[tokio::test]
async fn garbage_behind_a_valid_header_is_an_error_and_no_panic() {
    let test = TestDb::new().await;
    test.append(&gw1(), &[session_opened(0, 1)]).await;
    test.db.clone().close().await;
    let mut bytes = fs::read(&test.path).unwrap();
    for (i, byte) in bytes.iter_mut().enumerate().skip(100) {
        *byte = (i * 31 % 251) as u8;
    }
    let path = test.path.with_file_name("garbage.db");
    OpenOptions::new().write(true).create_new(true).open(&path).unwrap().write_all(&bytes).unwrap();
    assert!(matches!(error(&path).await, DbError::Damaged { .. }));
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn error(path: &Path) -> DbError {
    let error = Database::open(path, Create::No).await.unwrap_err();
    assert!(!error.hint().is_empty());
    let text = error.to_string();
    assert!(text.contains(path.file_name().unwrap().to_str().unwrap()), "names the file: {text}");
    error
}

fn migrator(statements: &[(i64, &'static str)]) -> Migrator {
    let migrations = statements.iter().map(|(version, sql)| {
        Migration::new(*version, Cow::Borrowed("test"), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect())
}
