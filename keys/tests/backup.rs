//! Backup and restore: everything comes back, or one clear error says why not and nothing is left behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{collections::BTreeSet, fs, path::Path, process::Child};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use support::{Installation, Run, admin_records, mode, setting};

/// An installation with every kind of row, and a backup of it in `backup`.
fn backed_up() -> Installation {
    let installation = Installation::with_clients(&["anna", "bert", "carla"]);
    let invite = ["client", "invite", "dora", "--role", "smart-client", "--operator", "Dora"];
    let commands: [&[&str]; 6] = [
        &["client", "suspend", "bert", "--reason", "on leave"],
        &["client", "revoke", "carla"],
        &["client", "rotate", "anna"],
        &invite,
        &["gateway", "rotate"],
        &["backup", "backup"],
    ];
    for command in commands {
        installation.run(command).succeeded();
    }
    installation
}

fn restore(installation: &Installation, data: &str) -> Run {
    installation.run(&["--data", data, "restore", "backup"])
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn everything_comes_back_and_works() {
    let installation = backed_up();
    let restored = restore(&installation, "new").succeeded();

    for command in
        [&["client", "list", "--json"][..], &["client", "show", "anna", "--json"], &["gateway", "show"]]
    {
        let before = installation.run(command).succeeded().stdout;
        let after = installation.run(&[&["--data", "new"], command].concat()).succeeded().stdout;
        assert_eq!(before, after, "{command:?}");
    }
    assert!(restored.stderr.contains("warning: it is as it was at 2"), "{}", restored.stderr);
    assert!(restored.stderr.contains("ACTIVE AGAIN"), "{}", restored.stderr);
    let new = installation.path("new");
    assert_eq!(
        (mode(&new), mode(&new.join("keystore")), mode(&new.join("vmsgate.db"))),
        (0o700, 0o600, 0o600)
    );
    assert_eq!(names(&new), BTreeSet::from(["keystore".to_owned(), "vmsgate.db".to_owned()]));

    // The next one gets an address, and the passphrase opens what was restored.
    let add =
        ["--data", "new", "client", "add", "emil", "--role", "smart-client", "--operator", "Emil", "--json"];
    let emil = installation.run(&add).succeeded().json();
    let taken: Vec<Value> = installation.clients().iter().map(|client| client["addresses"].clone()).collect();
    assert!(!taken.contains(&emil["client"]["addresses"]), "{emil}");
    installation.run(&["--data", "new", "gateway", "retire"]).succeeded();
}

#[test]
fn both_are_on_record_and_can_be_joined() {
    let installation = backed_up();
    restore(&installation, "new").succeeded();

    let made = installation.admin_records().pop().unwrap();
    let restored = admin_records(&installation.path("new/vmsgate.db"));

    assert_eq!(made.0, "admin.registry.backup");
    let [(kind, record)] = &restored[..] else { panic!("{restored:?}") };
    assert_eq!(kind, "admin.registry.restore");
    assert_eq!(record["object"], "gw-1");
    for member in ["backup", "made"] {
        assert_eq!(record["after"][member], made.1["after"][member], "{member}");
    }
    assert_eq!(
        (&record["after"]["clients"], &record["after"]["checkpoints"]),
        (&4.into(), &Value::Array(vec![]))
    );
}

#[test]
fn the_file_is_its_owner_s_alone_and_shows_neither_secrets_nor_people() {
    let installation = Installation::new();
    let conf = installation.add("anna").succeeded().stdout;

    let report = installation.run(&["backup", "backup", "--json"]).succeeded().json();

    let file = installation.path("backup");
    let bytes = fs::read(&file).unwrap();
    assert_eq!((mode(&file), &report["bytes"], &report["clients"]), (0o600, &bytes.len().into(), &1.into()));
    let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    assert!(holds(b"vmsgate-keystore 1"), "the search itself works");
    for name in ["PrivateKey", "PresharedKey"] {
        let secret = setting(&conf, name);
        assert!(!holds(secret.as_bytes()) && !holds(&STANDARD.decode(secret).unwrap()), "{name}");
    }
    assert!(!holds(b"anna") && !holds(b"Anna Berg") && !holds(b"vpn.example.org"));
    installation.run(&["backup", "backup"]).refused("there is already a file of that name");
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

#[test]
fn a_dry_run_says_what_is_in_it_and_changes_nothing() {
    let installation = backed_up();
    let scratch = installation.path("tmp");
    fs::create_dir(&scratch).unwrap();
    let dry_run = |arguments: &[&str]| -> Run {
        let arguments = [arguments, &["restore", "--dry-run", "backup"]].concat();
        installation.command(&arguments).env("TMPDIR", &scratch).output().unwrap().into()
    };
    let before = names(&installation.data());

    let run = dry_run(&["--data", "new"]).succeeded();
    assert!(run.stdout.contains("gateway      gw-1\n"), "{}", run.stdout);
    assert!(run.stdout.contains("clients      4, of which 2 may connect\n"), "{}", run.stdout);
    assert!(run.stdout.contains("invitations  1 open\n"), "{}", run.stdout);
    assert!(run.stdout.contains("retiring"), "{}", run.stdout);
    assert!(run.stderr.contains("it can be restored") && !run.stderr.contains("warning"), "{}", run.stderr);
    assert!(!installation.path("new").exists());

    let here = dry_run(&["--json"]).succeeded();
    let report = here.json();
    assert_eq!((&report["restored"], &report["clients"]), (&false.into(), &4.into()));
    assert!(report["obstacle"].as_str().unwrap().ends_with("holds this installation already"), "{report}");
    assert_eq!((names(&scratch), names(&installation.data())), (BTreeSet::new(), before));
}

#[test]
fn what_is_no_sound_backup_is_one_clear_error_and_nothing_is_written() {
    let installation = backed_up();
    let good = fs::read(installation.path("backup")).unwrap();
    let newer = String::from_utf8_lossy(&good[..40]).replacen("backup 1", "backup 2", 1);
    let mut edited = good.clone();
    *edited.last_mut().unwrap() ^= 1;
    let cases: [(&[u8], &str); 6] = [
        (&good[..good.len() - 1], "it is truncated, or it was edited"),
        (&good[..100], "it is truncated, or it was edited"),
        (&edited, "it is truncated, or it was edited"),
        (b"", "it is not a backup"),
        (b"PGDMP and so on", "it is not a backup"),
        (newer.as_bytes(), "it was made by a newer version of this program"),
    ];
    for (bytes, error) in cases {
        fs::write(installation.path("backup"), bytes).unwrap();
        restore(&installation, "new").refused(error);
        installation.run(&["restore", "--dry-run", "backup"]).refused(error);
        assert!(!installation.path("new").exists(), "{error}");
    }

    fs::write(installation.path("backup"), &good).unwrap();
    installation.write("wrong", "correct horse battery stapler\n");
    let wrong = ["--passphrase-file", "wrong", "--data", "new", "restore", "backup"];
    installation.run(&wrong).refused("the passphrase is wrong");
    installation.run(&["restore", "absent"]).refused("cannot restore the backup absent");
    assert!(!installation.path("new").exists());
    restore(&installation, "new").succeeded();
}

#[test]
fn the_passphrase_of_a_backup_is_the_one_of_its_time() {
    let installation = backed_up();
    installation.write("new-passphrase", "another good passphrase\n");
    installation.run(&["passwd", "--new-passphrase-file", "new-passphrase"]).succeeded();

    let newer = ["--passphrase-file", "new-passphrase", "--data", "new", "restore", "backup"];
    let refused = installation.run(&newer).refused("the passphrase is wrong");

    assert!(
        refused.stderr.contains("the passphrase that the keystore had when it was made"),
        "{}",
        refused.stderr
    );
    restore(&installation, "new").succeeded();
}

#[test]
fn an_installation_is_never_overwritten() {
    let installation = backed_up();
    let other = Installation::with_clients(&["zoe"]);
    fs::copy(installation.path("backup"), other.path("backup")).unwrap();
    let files = |installation: &Installation| {
        ["keystore", "vmsgate.db"].map(|name| fs::read(installation.data().join(name)).unwrap())
    };
    let before = (files(&installation), files(&other));

    installation.run(&["restore", "backup"]).refused("holds this installation already");
    other.run(&["restore", "backup"]).refused("holds another installation");

    assert_eq!((files(&installation), files(&other)), before);
    // Parts of one are in the way too. SQLite would take a forgotten log for the newest writes.
    for (name, content) in [("keystore", "whatever"), ("vmsgate.db", "whatever"), ("vmsgate.db-wal", "")] {
        let folder = installation.path("remains");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(name), content).unwrap();
        restore(&installation, "remains").refused("holds the remains of an installation");
        assert_eq!(names(&folder), BTreeSet::from([name.to_owned()]));
        fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn a_restoration_that_was_killed_left_no_installation_or_all_of_it_and_can_be_repeated() {
    let installation = backed_up();
    let expected = installation.run(&["client", "list", "--json"]).succeeded().stdout;
    let new = installation.path("new");
    let in_scratch = |name: &str| {
        let mut entries = fs::read_dir(&new).into_iter().flatten().flatten();
        entries.any(|entry| entry.path().join(name).exists())
    };
    // What it does, in order; each time it is killed as soon as that is seen.
    let steps: [(&str, &dyn Fn() -> bool); 5] = [
        ("nothing", &|| true),
        ("data directory", &|| new.exists()),
        ("database", &|| in_scratch("vmsgate.db")),
        ("keystore", &|| new.join("keystore").exists()),
        ("database in its place", &|| new.join("vmsgate.db").exists()),
    ];
    for (step, done) in steps {
        let mut child = installation.command(&["--data", "new", "restore", "backup"]).spawn().unwrap();
        while !done() && child.try_wait().unwrap().is_none() {}
        child.kill().unwrap();
        child.wait().unwrap();

        let list = || installation.run(&["--data", "new", "client", "list", "--json"]);
        if !new.join("vmsgate.db").exists() {
            assert_ne!(step, "database in its place");
            list().refused("there is no database at");
            restore(&installation, "new").succeeded();
            assert_eq!(
                names(&new),
                BTreeSet::from(["keystore".to_owned(), "vmsgate.db".to_owned()]),
                "{step}"
            );
        }
        assert_eq!(list().succeeded().stdout, expected, "{step}");
        let add = ["client", "add", "emil", "--role", "smart-client", "--operator", "Emil"];
        installation.run(&[&["--data", "new"], &add[..]].concat()).succeeded();
        fs::remove_dir_all(&new).unwrap();
    }
}

#[test]
fn what_a_killed_restoration_left_is_used_or_removed() {
    let installation = backed_up();
    restore(&installation, "whole").succeeded();
    let new = installation.path("new");
    fs::create_dir(&new).unwrap();
    let stray = new.join(".vmsgate-restore-stray");
    fs::create_dir(&stray).unwrap();
    fs::write(stray.join("vmsgate.db"), "half a database").unwrap();
    fs::copy(installation.path("whole/keystore"), new.join("keystore")).unwrap();

    restore(&installation, "new").succeeded();

    assert_eq!(names(&new), BTreeSet::from(["keystore".to_owned(), "vmsgate.db".to_owned()]));
}

#[test]
fn backups_beside_changes_are_each_of_one_moment() {
    let installation = Installation::new();
    let add = |n: usize| {
        let name = format!("client-{n}");
        let add = ["client", "add", &name, "--role", "smart-client", "--operator", "Anna Berg"];
        installation.command(&add).spawn().unwrap()
    };
    let back_up = |n: usize| installation.command(&["backup", &format!("backup-{n}")]).spawn().unwrap();

    let children: Vec<Child> = (0..6).flat_map(|n| [add(n), back_up(n)]).collect();
    for child in children {
        Run::from(child.wait_with_output().unwrap()).succeeded();
    }

    for n in 0..6 {
        let dry_run = ["restore", "--dry-run", &format!("backup-{n}"), "--json"];
        let report = installation.run(&dry_run).succeeded().json();
        assert!(report["clients"].as_u64().unwrap() <= 6, "{report}");
    }
}

#[test]
fn an_installation_that_could_not_be_restored_is_not_backed_up() {
    let installation = Installation::with_clients(&["anna"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let registry = vmsgate_keys::Registry::open(&installation.database()).await.unwrap();
        let edit = "UPDATE registry_client_key SET sealed_preshared_key = 'nonsense'";
        sqlx::query(edit).execute(registry.database().pool()).await.unwrap();
        registry.close().await;
    });

    let refused =
        installation.run(&["backup", "backup"]).refused("the installation cannot be backed up as it is");

    assert!(refused.stderr.contains("the pre-shared key of client key"), "{}", refused.stderr);
    assert!(!installation.path("backup").exists());
}
