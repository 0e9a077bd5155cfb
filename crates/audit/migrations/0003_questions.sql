-- What `who` and the listings of one session are answered by. The gateway's side of a flow on the recording network
-- stays NULL for flows that were recorded before there were these columns.
ALTER TABLE audit_flow ADD COLUMN lan_address TEXT;
ALTER TABLE audit_flow ADD COLUMN lan_port BIGINT;

CREATE INDEX audit_flow_by_lan_source ON audit_flow (lan_address, lan_port, ended_ms, opened_ms)
    WHERE lan_port IS NOT NULL;

CREATE INDEX audit_denied_by_session ON audit_record (session, time_ms, seq) WHERE kind = 'flow.denied';

-- Where a session came from, and when it moved.
CREATE INDEX audit_source_of_session ON audit_record (session, seq)
    WHERE kind IN ('session.opened', 'session.roamed', 'session.closed');
