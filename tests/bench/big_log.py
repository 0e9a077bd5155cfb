#!/usr/bin/env python3
"""Fills the audit log of a fresh installation with many records, chained as the gateway chains them.

    vmsgate-keys --data DIR --passphrase-file FILE init --endpoint vpn.example.org:51820
    tests/bench/big_log.py DIR/vmsgate.db 10000000
    time vmsgate --data DIR sessions --since 24h

A year up to now, in which 200 people have sessions of an hour with 49 flows each. The signatures of checkpoints are
not among it.
"""

import hashlib
import json
import sqlite3
import sys
import time

FLOWS = 49
PEOPLE = 200
HOUR = 3_600_000
CHAIN = "gateway/gw-1"


def main(path, wanted):
    db = sqlite3.connect(path)
    db.execute("PRAGMA synchronous = OFF")
    indexes = db.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND name LIKE 'audit!_%' ESCAPE '!'"
    ).fetchall()
    if db.execute("SELECT COUNT(*) FROM audit_session").fetchone()[0]:
        sys.exit(f"{path} is not the database of a fresh installation")
    for name, _ in indexes:
        db.execute(f"DROP INDEX {name}")
    log = Log(db)
    sessions = wanted // (2 + 2 * FLOWS)
    end = int(time.time() * 1000) - HOUR
    start = end - 365 * 24 * HOUR
    for number in range(sessions):
        log.session(number, start + (end - start) * number // sessions)
    log.flush()
    db.execute("INSERT INTO audit_chain VALUES (?, ?, ?)", (CHAIN, log.seq, log.head.hex()))
    for _, sql in indexes:
        db.execute(sql)
    db.commit()
    print(f"{log.seq} records")


class Log:
    def __init__(self, db):
        self.db, self.seq, self.rows, self.sessions, self.flows = db, 0, [], [], []
        self.head = hashlib.sha256(b"vmsgate audit chain 1\n" + CHAIN.encode()).digest()

    def session(self, number, opened):
        person = number % PEOPLE
        session = {
            "client": f"laptop-{person}", "id": uuid7(opened, number), "key": f"{person:016x}",
            "operator": f"Person {person}", "role": "smart-client", "source": f"203.0.113.{person}:51820",
            "tunnel": [f"10.99.0.{person}", f"fd00:99::{person:x}"],
        }
        index = (session["id"], CHAIN)
        who = (session["client"], session["operator"])
        ended = opened + HOUR
        self.record("session.opened", opened, session, {})
        for flow in range(FLOWS):
            server = f"rec{flow % 20:02}"
            address, port = f"192.168.10.{20 + flow % 20}", 1024 + (number * FLOWS + flow) % 64000
            body = {
                "destination": {"address": address, "port": 7563, "server": server, "service": "recording-server"},
                "id": flow, "lan_source": {"address": "192.168.10.5", "port": port}, "protocol": "tcp",
                "source": {"address": session["tunnel"][0], "port": 50000 + flow},
            }
            self.record("flow.opened", opened + flow, session, {"flow": body}, server)
            closed = {"duration_ms": HOUR - 100, "flow": body, "opened": utc(opened + flow), "reason": "finished",
                      "tls": "plain", "traffic": traffic(10_000_000)}
            self.record("flow.closed", ended - 100 + flow, session, closed, server)
            self.flows.append((index[0], flow, CHAIN, self.seq, *who, server, opened + flow, ended - 100 + flow,
                               ended - 100 + flow, 10_000_000, 10_000, 10_000_000, 10_000, "192.168.10.5", port))
        closed = {"duration_ms": HOUR, "opened": utc(opened), "reason": "idle", "traffic": traffic(490_000_000)}
        self.record("session.closed", ended, session, closed)
        self.sessions.append((*index, self.seq, *who, opened, ended, ended, 490_000_000, 10_000, 490_000_000, 10_000))
        if len(self.rows) > 50_000:
            self.flush()

    def record(self, kind, ms, session, members, server=None):
        self.seq += 1
        body = {"chain": CHAIN, "gateway": "gw-1", "kind": kind, "policy": "0123456789abcdef", "schema_version": 1,
                "seq": self.seq, "session": session, "time": utc(ms), **members}
        text = json.dumps(body, sort_keys=True, separators=(",", ":"))
        self.head = hashlib.sha256(self.head + text.encode()).digest()
        self.rows.append((CHAIN, self.seq, ms, kind, session["id"], session["client"], session["operator"], server,
                          text, self.head.hex()))

    def flush(self):
        insert(self.db, "audit_record (chain, seq, time_ms, kind, session, client, operator, server, body, hash)",
               self.rows)
        insert(self.db, "audit_session", self.sessions)
        insert(self.db, "audit_flow", self.flows)
        self.db.commit()
        self.rows, self.sessions, self.flows = [], [], []


def insert(db, table, rows):
    if rows:
        db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)


def traffic(n):
    volume = {"bytes": n, "packets": 10_000}
    return {"from_client": volume, "to_client": volume}


def utc(ms):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03}Z"


def uuid7(ms, number):
    return f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-7000-8000-{number:012x}"


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]))
