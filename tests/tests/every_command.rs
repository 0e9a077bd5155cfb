//! Every command of both administrative programs has a decision: what it leaves in the log. Each is run on a copy of one
//! installation. The commands are asked from the programs, so a new one fails here until it has its decision.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    net::UdpSocket,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};
use vmsgate_tests::{
    binaries::{self, commands},
    process::PATIENCE,
    require::can_run,
};

/// What a command is to leave behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaves {
    /// One administrative record of this kind, and whatever it tells of.
    Record(&'static str),
    /// The same, once another command of the program was there before.
    RecordAfter(&'static [&'static str], &'static str),
    /// The same in an installation that the command itself makes.
    RecordOfANewInstallation(&'static str),
    /// One administrative record of this kind, and nothing else.
    RecordOfReading(&'static str),
    /// Everything as it was.
    Nothing,
    /// The gateway itself; it made the installation that the others work on.
    RecordsOfTheGateway,
}
use Leaves::{Nothing, Record, RecordAfter, RecordOfANewInstallation, RecordOfReading, RecordsOfTheGateway};

/// Program, command, its arguments, and the decision.
type Decision = (&'static str, &'static str, &'static [&'static str], Leaves);

const DECISIONS: &[Decision] = &[
    (KEYS, "init", &["--endpoint", "vpn.example.org:51820"], RecordOfANewInstallation("admin.registry.init")),
    (
        KEYS,
        "client add",
        &["eve", "--role", "smart-client", "--operator", "Eve", "--out", "eve.conf"],
        Record("admin.client.add"),
    ),
    (
        KEYS,
        "client invite",
        &["eve", "--role", "smart-client", "--operator", "Eve", "--out", "eve.token"],
        Record("admin.client.invite"),
    ),
    (KEYS, "client rotate", &["anna", "--out", "anna.conf"], Record("admin.client.rotate")),
    (KEYS, "client list", &[], Nothing),
    (KEYS, "client show", &["anna"], Nothing),
    (KEYS, "client suspend", &["anna"], Record("admin.client.suspend")),
    (KEYS, "client resume", &["bo"], Record("admin.client.resume")),
    (KEYS, "client revoke", &["anna", "--yes"], Record("admin.client.revoke")),
    (KEYS, "client expire", &["anna", "30d"], Record("admin.client.expire")),
    (
        KEYS,
        "client invite",
        &["eve", "--role", "smart-client", "--operator", "Eve"],
        Record("admin.client.invite"),
    ),
    (KEYS, "client rotate", &["anna", "--out", "anna.conf"], Record("admin.client.rotate")),
    (KEYS, "gateway show", &[], Nothing),
    (KEYS, "gateway status", &[], Nothing),
    (KEYS, "gateway rotate", &[], Record("admin.gateway.rotate")),
    (KEYS, "gateway retire", &["--force"], RecordAfter(&["gateway", "rotate"], "admin.gateway.retire")),
    (KEYS, "gateway rotate", &[], Record("admin.gateway.rotate")),
    (KEYS, "gateway retire", &["--force"], RecordAfter(&["gateway", "rotate"], "admin.gateway.retire")),
    (KEYS, "gateway status", &[], Nothing),
    (KEYS, "gateway retire", &[], Nothing),
    (KEYS, "genkey", &[], Nothing),
    (KEYS, "genpsk", &[], Nothing),
    (KEYS, "pubkey", &[], Nothing),
    (KEYS, "passwd", &["--new-passphrase-file", "passphrase"], Record("admin.keystore.passwd")),
    (KEYS, "backup", &["new.backup"], RecordOfReading("admin.registry.backup")),
    (KEYS, "restore", &["vmsgate.backup"], RecordOfANewInstallation("admin.registry.restore")),
    (KEYS, "restore", &["--dry-run", "vmsgate.backup"], Nothing),
    (KEYS, "completions", &["bash"], Nothing),
    (KEYS, "man", &[], Nothing),
    (GATEWAY, "run", &[], RecordsOfTheGateway),
    (GATEWAY, "demo", &[], Nothing),
    (GATEWAY, "check", &[], Nothing),
    (GATEWAY, "check", &["--compliance"], Nothing),
    (GATEWAY, "check", &["--diff"], Nothing),
    (GATEWAY, "reload", &[], Nothing),
    (GATEWAY, "policy replay", &["--since", "30d"], RecordOfReading("admin.audit.read")),
    (GATEWAY, "policy learn", &["--client", "anna", "--since", "7d"], RecordOfReading("admin.audit.read")),
    (GATEWAY, "explain", &["--client", "anna", "--to", "rec01:recording-server"], Nothing),
    (GATEWAY, "status", &[], Nothing),
    // Live, on a terminal, it leaves its records as the reading and the suspension that they are: see top.rs.
    (GATEWAY, "top", &[], Nothing),
    (GATEWAY, "health", &[], Nothing),
    (GATEWAY, "health", &["--alive"], Nothing),
    (GATEWAY, "sessions", &[], RecordOfReading("admin.audit.read")),
    (GATEWAY, "flows", &[], RecordOfReading("admin.audit.read")),
    (GATEWAY, "denials", &[], RecordOfReading("admin.audit.read")),
    (GATEWAY, "who", &["192.0.2.1", "--at", "now"], RecordOfReading("admin.audit.read")),
    (GATEWAY, "audit verify", &[], Nothing),
    (GATEWAY, "audit checkpoint", &[], RecordOfReading("admin.audit.checkpoint")),
    (GATEWAY, "audit prune", &["--before", "now", "--dry-run"], Nothing),
    (GATEWAY, "audit prune", &["--before", "now"], Record("admin.audit.prune")),
    (GATEWAY, "audit export", &["--out", "log.jsonl"], RecordOfReading("admin.audit.export")),
    (GATEWAY, "audit report", &["--since", "1d", "--out", "log.html"], RecordOfReading("admin.audit.report")),
    (GATEWAY, "completions", &["bash"], Nothing),
    (GATEWAY, "man", &[], Nothing),
];

const KEYS: &str = "vmsgate-keys";
const GATEWAY: &str = "vmsgate";
const PERSON: &str = "auditor@example.org";

#[test]
fn every_command_has_a_decision() {
    for program in [KEYS, GATEWAY] {
        let decided: BTreeSet<String> = DECISIONS
            .iter()
            .filter(|(of, ..)| *of == program)
            .map(|(_, command, ..)| (*command).to_owned())
            .collect();
        assert_eq!(commands(program, "").unwrap(), decided, "{program}: commands, and those with a decision");
    }
}

#[test]
fn every_command_leaves_its_record_and_the_others_leave_everything_as_it_was() {
    let template = Installation::make();
    assert!(template.kinds().iter().any(|kind| kind == "gateway.started"), "{:?}", template.kinds());
    let (before, newest) = (template.state(), template.newest());
    for (program, command, arguments, leaves) in DECISIONS {
        let what = format!("{program} {command} {}", arguments.join(" "));
        let installation = template.copy();
        let mut run = installation.command(program);
        run.args(command.split(' ')).args(*arguments);
        let mut run = || {
            let output = run.stderr(Stdio::piped()).output().unwrap();
            // Before anybody else opens the database, and closes it in order.
            assert_eq!(installation.beside_the_database(), Vec::<String>::new(), "{what}: left open");
            output
        };
        match leaves {
            RecordsOfTheGateway => {}
            RecordOfANewInstallation(kind) => {
                fs::remove_dir_all(installation.data()).unwrap();
                fs::remove_file(installation.path("gateway.toml")).unwrap();
                succeeded(&what, &run());
                assert_eq!(installation.acts_after("0"), [*kind], "{what}");
                installation.expect_the_person(&what);
            }
            Record(kind) => {
                succeeded(&what, &run());
                assert_eq!(installation.acts_after(&newest), [*kind], "{what}");
                installation.expect_the_person(&what);
            }
            RecordAfter(earlier, kind) => {
                let mut before = installation.command(program);
                succeeds(&earlier.join(" "), before.args(*earlier));
                let newest = installation.newest();
                succeeded(&what, &run());
                assert_eq!(installation.acts_after(&newest), [*kind], "{what}");
                installation.expect_the_person(&what);
            }
            RecordOfReading(kind) => {
                run();
                assert_eq!(installation.acts_after(&newest), [*kind], "{what}");
                installation.expect_the_person(&what);
                assert!(
                    installation.state().without_the_log() == before.without_the_log(),
                    "{what}: changed more"
                );
            }
            Nothing => {
                run();
                assert!(installation.state() == before, "{what}: changed something without a record");
            }
        }
    }
}

/// An auditor's medium, or a disk that the system has made read-only because it fails.
#[test]
fn a_folder_that_nothing_can_be_written_to_is_read_and_what_cannot_be_read_says_what_to_do() {
    if !can_run(&["unshare", "mount", "sh"]) {
        return;
    }
    let installation = Installation::make();
    let ask = |arguments: &str| -> (bool, String, String) {
        let script = format!(
            "mount --bind data data && mount -o remount,bind,ro data && exec \"$VMSGATE\" {arguments}"
        );
        let mut command = installation.prepared("unshare");
        command.args(["--mount", "--", "/bin/sh", "-c", &script]);
        command
            .env("VMSGATE", binaries::built().unwrap().join(GATEWAY))
            .env("PATH", std::env::var_os("PATH").unwrap());
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    let readings = ["sessions", "flows", "denials", "audit checkpoint", "audit export"];
    for arguments in readings {
        let (succeeded, _, stderr) = ask(arguments);
        assert!(succeeded, "{arguments}: {stderr}");
        assert!(stderr.contains("warning: this reading is not on record"), "{arguments}: {stderr}");
    }
    let (succeeded, out, stderr) = ask("audit verify");
    assert!(
        succeeded && out.contains("proven, with the key") && !stderr.contains("warning"),
        "{out}{stderr}"
    );
    let records = installation.kinds().len();
    let (_, exported, _) = ask("audit export");
    assert_eq!(exported.lines().count(), records, "the whole log");

    // What a killed gateway left is read with it, or, where that cannot be, not passed over in silence.
    installation.leave_a_write_unmerged();
    let (_, exported, stderr) = ask("audit export");
    assert_eq!(exported.lines().count(), records + 1, "{stderr}");
    fs::remove_file(installation.data().join("vmsgate.db-shm")).unwrap();
    for arguments in [&readings[..], &["audit verify"]].concat() {
        let (succeeded, out, stderr) = ask(arguments);
        assert!(!succeeded && out.is_empty(), "{arguments}: {out}");
        assert!(stderr.contains("vmsgate.db-wal beside it"), "{arguments}: {stderr}");
        assert!(stderr.contains("hint: copy the database and its `-wal` file"), "{arguments}: {stderr}");
    }
}

#[test]
fn a_change_of_any_table_is_seen() {
    let installation = Installation::make();
    let before = installation.state();
    installation.sql("UPDATE registry_client SET role = 'other' WHERE name = 'anna'");
    assert!(installation.state() != before);
    assert!(installation.state().without_the_log() != before.without_the_log());
}

struct Installation(tempfile::TempDir);

/// Every row of every table, as SQL literals.
#[derive(Debug, PartialEq, Eq)]
struct State(Vec<(String, Vec<String>)>);

impl Installation {
    /// Two clients, one of them suspended, a log that a gateway wrote and signed, and a backup.
    fn make() -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        fs::write(made.path("passphrase"), "correct horse battery staple\n").unwrap();
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "[gateway]\nname = \"gw-1\"\nlisten = \"127.0.0.1:{port}\"\nendpoint = \"127.0.0.1:{port}\"\n\
             tunnel = [\"10.99.0.0/16\"]\n\n[[server]]\nname = \"rec01\"\naddress = \"192.168.10.21\"\n\
             services = [\"recording-server\"]\n\n[admin]\nlisten = \"127.0.0.1:0\"\n"
        );
        fs::write(made.path("gateway.toml"), config).unwrap();
        let commands: [&[&str]; 4] = [
            &["init"],
            &["client", "add", "anna", "--role", "smart-client", "--operator", "Anna Berg"],
            &["client", "add", "bo", "--role", "smart-client", "--operator", "Bo"],
            &["client", "suspend", "bo"],
        ];
        for arguments in commands {
            succeeds(&arguments.join(" "), made.command(KEYS).args(arguments));
        }
        made.run_the_gateway_once();
        succeeds("backup", made.command(KEYS).args(["backup", "vmsgate.backup"]));
        assert_eq!(made.beside_the_database(), Vec::<String>::new(), "the gateway left it open");
        made
    }

    fn run_the_gateway_once(&self) {
        let child = self.command(GATEWAY).arg("run").spawn().unwrap();
        let mut gateway = Gateway(child);
        let deadline = Instant::now() + PATIENCE;
        while !self.data().join("control.sock").exists() {
            let ended = gateway.0.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "the gateway does not start: {ended:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        kill(Pid::from_raw(gateway.0.id() as i32), Signal::SIGTERM).unwrap();
        assert!(gateway.0.wait().unwrap().success());
    }

    fn copy(&self) -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        fs::create_dir(copy.data()).unwrap();
        for folder in ["", "data"] {
            for entry in fs::read_dir(self.path(folder)).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_file() {
                    fs::copy(&entry, copy.path(folder).join(entry.file_name().unwrap())).unwrap();
                }
            }
        }
        copy
    }

    /// A program in the installation's folder, started by automation that acts for somebody.
    fn command(&self, program: &str) -> Command {
        self.prepared(binaries::built().unwrap().join(program))
    }

    fn prepared(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.0.path())
            .env_clear()
            .env("VMSGATE_CONFIG", "gateway.toml")
            .env("VMSGATE_DATA", "data")
            .env("VMSGATE_PASSPHRASE_FILE", "passphrase")
            .env("VMSGATE_ACTOR", PERSON)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// As a gateway does that is killed after it has recorded something.
    fn leave_a_write_unmerged(&self) {
        let kept = ["vmsgate.db", "vmsgate.db-wal", "vmsgate.db-shm"];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            // As long as somebody has the database open, whoever else closes it merges nothing.
            let database = format!("sqlite:{}", self.data().join("vmsgate.db").display());
            let mut connection = SqliteConnection::connect(&database).await.unwrap();
            sqlx::query("SELECT 1 FROM audit_chain").fetch_all(&mut connection).await.unwrap();
            succeeds("client suspend", self.command(KEYS).args(["client", "suspend", "anna"]));
            let files = kept.map(|name| fs::read(self.data().join(name)).unwrap());
            connection.close().await.unwrap();
            for (name, content) in kept.iter().zip(files) {
                fs::write(self.data().join(name), content).unwrap();
            }
        });
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// SQLite's files that whoever closes the database last removes.
    fn beside_the_database(&self) -> Vec<String> {
        let entries = fs::read_dir(self.data()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("vmsgate.db-")).collect()
    }

    fn kinds(&self) -> Vec<String> {
        self.sql("SELECT kind FROM audit_record ORDER BY chain, seq")
    }

    /// The number of the newest record of the administrators' chain.
    fn newest(&self) -> String {
        self.sql("SELECT CAST(seq AS TEXT) FROM audit_chain WHERE chain = 'admin'").remove(0)
    }

    /// The administrative acts after a record of their chain, in order.
    fn acts_after(&self, seq: &str) -> Vec<String> {
        self.sql(&format!(
            "SELECT kind FROM audit_record
             WHERE chain = 'admin' AND kind LIKE 'admin.%' AND seq > {seq} ORDER BY seq"
        ))
    }

    /// The newest act names the operating system's user, and after it the person.
    fn expect_the_person(&self, what: &str) {
        let newest = "SELECT body FROM audit_record WHERE chain = 'admin' AND kind LIKE 'admin.%' ORDER BY seq DESC LIMIT 1";
        let record: serde_json::Value = serde_json::from_str(&self.sql(newest)[0]).unwrap();
        let actor = record["actor"].as_str().unwrap();
        assert!(actor.contains("uid ") && actor.ends_with(&format!(" for {PERSON}")), "{what}: {actor}");
    }

    fn state(&self) -> State {
        let tables = self.sql("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name");
        let rows = |table: String| {
            let columns =
                self.sql(&format!("SELECT 'quote(' || name || ')' FROM pragma_table_info('{table}')"));
            let rows =
                self.sql(&format!("SELECT {} AS row FROM {table} ORDER BY row", columns.join(" || ',' || ")));
            (table, rows)
        };
        State(tables.into_iter().map(rows).collect())
    }

    /// The first column of every row of the answer.
    fn sql(&self, statement: &str) -> Vec<String> {
        let database = format!("sqlite:{}", self.data().join("vmsgate.db").display());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut connection = SqliteConnection::connect(&database).await.unwrap();
            let rows =
                sqlx::query(AssertSqlSafe(statement.to_owned())).fetch_all(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            rows.iter().map(|row| row.get(0)).collect()
        })
    }
}

impl State {
    /// What is no record: a record changes its chain's rows.
    fn without_the_log(&self) -> Vec<&(String, Vec<String>)> {
        self.0
            .iter()
            .filter(|(table, _)| !["audit_record", "audit_chain"].contains(&table.as_str()))
            .collect()
    }
}

/// Ended with the test, however that ends.
struct Gateway(Child);

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended in order.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn succeeds(what: &str, command: &mut Command) {
    succeeded(what, &command.stderr(Stdio::piped()).output().unwrap());
}

fn succeeded(what: &str, Output { status, stderr, .. }: &Output) {
    assert!(status.success(), "{what}: {status}\n{}", String::from_utf8_lossy(stderr));
}
