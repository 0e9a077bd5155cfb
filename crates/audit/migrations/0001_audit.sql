-- The log itself. `body` is the canonical text of the record, `hash` its link in the chain; the other columns repeat
-- what is in `body`, for look-ups.
CREATE TABLE audit_record (
    chain    TEXT   NOT NULL,
    seq      BIGINT NOT NULL,
    time_ms  BIGINT NOT NULL,
    kind     TEXT   NOT NULL,
    session  TEXT,
    client   TEXT,
    operator TEXT,
    server   TEXT,
    body     TEXT   NOT NULL,
    hash     TEXT   NOT NULL,
    PRIMARY KEY (chain, seq)
);

CREATE INDEX audit_denied_by_time     ON audit_record (time_ms, seq)           WHERE kind = 'flow.denied';
CREATE INDEX audit_denied_by_client   ON audit_record (client, time_ms, seq)   WHERE kind = 'flow.denied';
CREATE INDEX audit_denied_by_operator ON audit_record (operator, time_ms, seq) WHERE kind = 'flow.denied';
CREATE INDEX audit_denied_by_server   ON audit_record (server, time_ms, seq)   WHERE kind = 'flow.denied';

-- The last record of each chain.
CREATE TABLE audit_chain (
    chain TEXT   NOT NULL PRIMARY KEY,
    seq   BIGINT NOT NULL,
    hash  TEXT   NOT NULL
);

-- One row per session and per flow: where its latest record is, and the times to find it by. `ended_ms` of what is
-- still open is 9223372036854775807, so that "not over before T" is one range of an index. The counters are those last
-- heard of while it is open. All of it can be made anew from audit_record.
CREATE TABLE audit_session (
    session      TEXT   NOT NULL PRIMARY KEY,
    chain        TEXT   NOT NULL,
    last_seq     BIGINT NOT NULL,
    client       TEXT   NOT NULL,
    operator     TEXT   NOT NULL,
    opened_ms    BIGINT NOT NULL,
    ended_ms     BIGINT NOT NULL,
    last_seen_ms BIGINT NOT NULL,
    from_client_bytes   BIGINT NOT NULL,
    from_client_packets BIGINT NOT NULL,
    to_client_bytes     BIGINT NOT NULL,
    to_client_packets   BIGINT NOT NULL
);

CREATE INDEX audit_session_by_end      ON audit_session (ended_ms, opened_ms);
CREATE INDEX audit_session_by_client   ON audit_session (client, ended_ms, opened_ms);
CREATE INDEX audit_session_by_operator ON audit_session (operator, ended_ms, opened_ms);

CREATE TABLE audit_flow (
    session      TEXT   NOT NULL,
    flow         BIGINT NOT NULL,
    chain        TEXT   NOT NULL,
    last_seq     BIGINT NOT NULL,
    client       TEXT   NOT NULL,
    operator     TEXT   NOT NULL,
    server       TEXT   NOT NULL,
    opened_ms    BIGINT NOT NULL,
    ended_ms     BIGINT NOT NULL,
    last_seen_ms BIGINT NOT NULL,
    from_client_bytes   BIGINT NOT NULL,
    from_client_packets BIGINT NOT NULL,
    to_client_bytes     BIGINT NOT NULL,
    to_client_packets   BIGINT NOT NULL,
    PRIMARY KEY (session, flow)
);

CREATE INDEX audit_flow_by_end      ON audit_flow (ended_ms, opened_ms);
CREATE INDEX audit_flow_by_client   ON audit_flow (client, ended_ms, opened_ms);
CREATE INDEX audit_flow_by_operator ON audit_flow (operator, ended_ms, opened_ms);
CREATE INDEX audit_flow_by_server   ON audit_flow (server, ended_ms, opened_ms);
CREATE INDEX audit_flow_of_session  ON audit_flow (session, server);
