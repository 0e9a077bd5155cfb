#!/usr/bin/env python3
"""Verifies an audit log, written from docs/audit-format.md alone, with nothing but Python's standard library.

usage: verify.py DATABASE [--key PUBLICKEY] [--anchor FILE]...

Prints what is wrong and exits with 1, or prints `proven` and exits with 0. It shares no code with `vmsgate audit verify`
and is slower; that both come to the same verdict is what it is for.
"""

import argparse
import base64
import datetime
import hashlib
import json
import re
import sqlite3
import sys
import uuid

OPEN = 2**63 - 1
OF_SESSIONS = {"session.opened", "session.roamed", "session.closed", "session.limited", "flow.opened", "flow.closed", "flow.denied"}
ANCHOR = re.compile(r"^vmsgate-checkpoint 1 (.+) (\d+) (\S+) ([0-9a-f]{64}) (\S+)$")


class Fault(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Fault(what)


# Ed25519 as in RFC 8032, section 5.1: verification only.

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)


def add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(scalar, point):
    result = NEUTRAL
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def same(p, q):
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


def decompress(data):
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def signed(key, message, signature):
    a, r = decompress(key), decompress(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= ORDER or same(times(8, a), NEUTRAL) or same(times(8, r), NEUTRAL):
        return False
    digest = hashlib.sha512(signature[:32] + key + message).digest()
    k = int.from_bytes(digest, "little") % ORDER
    return same(times(s, BASE), add(r, times(k, a)))


# Records.


def parse(body):
    def members(pairs):
        names = [name for name, _ in pairs]
        expect(len(set(names)) == len(names), "a name occurs twice")
        return dict(pairs)

    def no_float(text):
        raise Fault(f"{text} is not an integer")

    try:
        record = json.loads(body, object_pairs_hook=members, parse_float=no_float, parse_constant=no_float)
    except ValueError as error:
        raise Fault(f"not JSON: {error}") from error
    expect(isinstance(record, dict), "not a JSON object")
    expect(canonical(record) == body, "not in canonical form")
    return record


def canonical(value):
    if value is None or value is True or value is False:
        return json.dumps(value)
    if isinstance(value, int):
        expect(-(2**63) <= value < 2**64, "a number is out of range")
        return str(value)
    if isinstance(value, str):
        return '"' + "".join(map(escaped, value)) + '"'
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    names = sorted(value, key=lambda name: name.encode("utf-16-be"))
    return "{" + ",".join(canonical(name) + ":" + canonical(value[name]) for name in names) + "}"


def escaped(c):
    short = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
    return short.get(c) or (f"\\u{ord(c):04x}" if c < " " else c)


def milliseconds(text):
    expect(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text), f"{text} is not a time")
    time = datetime.datetime.strptime(text[:-1] + "000+0000", "%Y-%m-%dT%H:%M:%S.%f%z")
    since = time - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return since // datetime.timedelta(milliseconds=1)


def columns(record):
    kind, session = record["kind"], record.get("session", {})
    server = None
    if kind in ("flow.opened", "flow.closed", "flow.denied"):
        place = record["destination"] if kind == "flow.denied" else record["flow"]["destination"]
        server = place.get("server", place["address"])
    if kind in OF_SESSIONS:
        return (session["id"], session["client"], session["operator"], server)
    if kind == "handshake.rejected":
        return (None, record.get("client"), None, None)
    return (None, None, None, None)


def is_known(kind):
    return kind in OF_SESSIONS or kind == "handshake.rejected" or kind.startswith(("admin.", "gateway.", "audit."))


def lines(*parts):
    return "".join(f"{part}\n" for part in parts).encode()


def check_signature(record, key, *parts):
    expect(key, "signed, and there is no key to check it with")
    raw = base64.b64decode(key)
    expect(record["key"] == hashlib.sha256(raw).hexdigest()[:16], "signed with another key")
    expect(re.fullmatch("[0-9a-f]{128}", record["signature"]), "malformed signature")
    expect(signed(raw, lines(*parts, key), bytes.fromhex(record["signature"])), "the signature does not fit")


def check_tombstone(record, key):
    ranges, last = record["ranges"], 0
    expect(1 <= len(ranges) <= 1000, "not 1 to 1000 ranges")
    for gone in ranges:
        expect(last < gone["first"] <= gone["last"] < record["seq"], "ranges out of order")
        last = gone["last"]
    kinds = sorted(record["counts"], key=lambda kind: kind.encode())
    check_signature(
        record, key, "vmsgate audit tombstone 1", record["chain"], record["time"], record["from"], record["to"],
        *(f"range {gone['first']} {gone['last']} {gone['hash']}" for gone in ranges),
        *(f"count {record['counts'][kind]} {kind}" for kind in kinds),
    )


# The log.


def lan_source(record):
    """The gateway's side of a flow."""
    source = record.get("flow", {}).get("lan_source", {})
    return source.get("address"), source.get("port")


class Index:
    """What the tables of sessions and flows have to say."""

    def __init__(self):
        self.closed, self.open = {}, {}

    def follow(self, record, named):
        kind = record["kind"]
        if kind not in OF_SESSIONS or kind == "flow.denied":
            return
        flow = min(record["flow"]["id"], OPEN) if kind.startswith("flow.") else None
        uuid.UUID(record["session"]["id"])
        what = (record["session"]["id"], flow)
        if kind.endswith(".opened"):
            lan = lan_source(record)
            self.open[what] = (record["chain"], record["seq"], *named[1:], *lan, milliseconds(record["time"]), OPEN)
        elif kind == "session.roamed":
            if what in self.open:
                chain, _, *rest = self.open[what]
                self.open[what] = (chain, record["seq"], *rest)
        else:
            self.open.pop(what, None)
            opened = milliseconds(record["opened"])
            ended = min(opened + min(record["duration_ms"], OPEN), OPEN - 1)
            moved = record["traffic"]
            counters = [moved[way][unit] for way in ("from_client", "to_client") for unit in ("bytes", "packets")]
            expect(what not in self.closed, f"{what} is closed twice")
            self.closed[what] = (
                record["chain"], record["seq"], *named[1:], *lan_source(record), opened, ended, ended,
                *(min(c, OPEN) for c in counters),
            )

    def compare(self, database):
        counters = "from_client_bytes, from_client_packets, to_client_bytes, to_client_packets"
        found = {}
        of_flows = ("audit_flow", "flow", "server, lan_address, lan_port")
        for table, flow, of_flow in (("audit_session", "NULL", "NULL, NULL, NULL"), of_flows):
            for row in database.execute(
                f"SELECT session, {flow}, chain, last_seq, client, operator, {of_flow}, opened_ms, ended_ms,"
                f" last_seen_ms, {counters} FROM {table}"
            ):
                texts = [row[0], row[2], row[4], row[5]] + ([row[6]] if table == "audit_flow" else [])
                expect(all(isinstance(text, str) for text in texts), f"{table}: a value of another type")
                expect(all(isinstance(number, int) for number in row[9:]), f"{table}: a value of another type")
                said = row[2:]
                found[row[0], row[1]] = said[:9] if row[10] == OPEN else said
        due = {**self.closed, **self.open}
        for what in due.keys() | found.keys():
            expect(due.get(what) == found.get(what), f"the index says {found.get(what)} of {what}, not {due.get(what)}")


def walk(database, chain, key, anchors, index):
    expect(chain == "admin" or chain.startswith("gateway/"), f"`{chain}` is no chain")
    head = (0, hashlib.sha256(f"vmsgate audit chain 1\n{chain}".encode()).digest())
    deleted = {}
    rows = "SELECT seq, time_ms, kind, session, client, operator, server, hash, body FROM audit_record WHERE chain = ?"
    for row in database.execute(rows + " AND kind = 'audit.tombstone'", (chain,)):
        try:
            record = parse(row[8])
            check_tombstone(record, key)
        except (Fault, KeyError, TypeError, ValueError):
            continue  # The walk comes to it.
        for gone in record["ranges"]:
            if gone["last"] > deleted.get(gone["first"], (0, ""))[0]:
                deleted[gone["first"]] = (gone["last"], gone["hash"])
    seen = {}
    for seq, time_ms, kind, session, client, operator, server, digest, body in database.execute(
        rows + " ORDER BY seq", (chain,)
    ):
        try:
            expect(type(seq) is int and type(time_ms) is int, "a value of another type")
            texts = [text for text in (kind, session, client, operator, server, digest, body) if text is not None]
            expect(all(type(text) is str for text in texts), "a value of another type")
            while head[0] + 1 < seq:
                first = head[0] + 1
                expect(first in deleted, f"record {first} is missing")
                last, hash_of_last = deleted[first]
                expect(last < seq, "stands where it was deleted")
                seen.update({number: None for number in anchors if first <= number < last})
                head = (last, bytes.fromhex(hash_of_last))
                seen[last] = hash_of_last
            expect(seq == head[0] + 1, "out of order")
            link = hashlib.sha256(head[1] + body.encode())
            expect(link.hexdigest() == digest, "the hash does not fit")
            record = parse(body)
            expect(record["schema_version"] == 1, "another schema version")
            expect((record["chain"], record["seq"]) == (chain, seq), "written as another record")
            expect(milliseconds(record["time"]) == time_ms and record["kind"] == kind, "a column says otherwise")
            if is_known(kind):
                named = columns(record)
                expect(named == (session, client, operator, server), "a column says otherwise")
                index.follow(record, named)
            if kind == "audit.checkpoint":
                expect((record["head_seq"], record["head_hash"]) == (head[0], head[1].hex()), "another head")
                check_signature(
                    record, key, "vmsgate audit checkpoint 1", chain, head[0], head[1].hex(), record["time"]
                )
            if kind == "audit.tombstone":
                check_tombstone(record, key)
            head = (seq, link.digest())
            if seq in anchors:
                seen[seq] = digest
        except (Fault, KeyError, TypeError, ValueError, AttributeError) as error:
            raise Fault(f"{chain} {seq}: {error!r}") from error
    stored = database.execute("SELECT seq, hash FROM audit_chain WHERE chain = ?", (chain,)).fetchall()
    expect(stored == [(head[0], head[1].hex())], f"{chain}: audit_chain says {stored}, the log ends at {head[0]}")
    for number, (digest, anchor_key) in anchors.items():
        expect(anchor_key == key, f"{chain} {number}: the anchor names another key")
        expect(number in seen, f"{chain} {number}: the log does not have the anchor's record")
        expect(seen[number] in (None, digest), f"{chain} {number}: the log has another record than the anchor")


def verify(database, key, anchors):
    given = key
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    stored = []
    if "audit_key" in tables:
        stored = [key for (key,) in database.execute("SELECT public_key FROM audit_key")]
    key = key or next((anchor[4] for anchor in anchors), None) or next(iter(stored), None)
    expect(all(other == key for other in stored), "the key in the database is another one")
    if key:
        expect(len(base64.b64decode(key, validate=True)) == 32, "malformed key")
    index = Index()
    names = "SELECT chain FROM audit_record UNION SELECT chain FROM audit_chain ORDER BY 1"
    chains = [name for (name,) in database.execute(names)]
    for chain in chains:
        expect(type(chain) is str, f"{chain!r} is no chain")
        of_chain = {int(seq): (digest, key) for name, seq, _, digest, key in anchors if name == chain}
        walk(database, chain, key, of_chain, index)
    expect(all(anchor[0] in chains for anchor in anchors), "a chain of the anchors is missing")
    index.compare(database)
    signed = database.execute("SELECT COUNT(*) FROM audit_record WHERE kind = 'audit.checkpoint'").fetchone()[0]
    expect(not (given and chains) or signed, "nothing is signed with the given key")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("database")
    parser.add_argument("--key")
    parser.add_argument("--anchor", action="append", default=[])
    arguments = parser.parse_args()
    anchors = []
    for name in arguments.anchor:
        with open(name, encoding="utf-8") as file:
            found = [ANCHOR.match(line.strip()) for line in file]
            anchors += [match.groups() for match in found if match]
    database = sqlite3.connect(f"file:{arguments.database}?mode=ro", uri=True, isolation_level=None)
    database.execute("BEGIN")
    try:
        verify(database, arguments.key, anchors)
    except (Fault, KeyError, TypeError, ValueError, sqlite3.Error) as error:
        print(f"NOT PROVEN: {error}")
        return 1
    print("proven")
    return 0


if __name__ == "__main__":
    sys.exit(main())
