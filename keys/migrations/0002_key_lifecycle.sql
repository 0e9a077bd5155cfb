-- Keys that change: see docs/decisions/0011-key-lifecycle.md.

-- The registry's revision when the key was added: of two keys of a client the one with the greater number is newer,
-- whatever the clock did in between.
ALTER TABLE registry_client_key ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
-- When the gateway first heard the key.
ALTER TABLE registry_client_key ADD COLUMN heard_ms BIGINT;

ALTER TABLE registry_identity ADD COLUMN retiring_since_ms BIGINT;
-- Until when it is planned to answer; `gateway retire` ends it, nothing else.
ALTER TABLE registry_identity ADD COLUMN overlap_ends_ms BIGINT;
ALTER TABLE registry_identity ADD COLUMN retired_ms BIGINT;

CREATE TABLE registry_invitation (
    id TEXT PRIMARY KEY,
    client TEXT NOT NULL REFERENCES registry_client (id),
    -- The temporary key; the token that it follows from is stored nowhere.
    public_key TEXT NOT NULL UNIQUE,
    sealed_preshared_key TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    used_ms BIGINT,
    -- The key that the device enrolled with.
    used_key TEXT,
    -- When somebody else tried it after that, for the first time.
    reused_ms BIGINT,
    revision BIGINT NOT NULL
);
CREATE INDEX registry_invitation_client ON registry_invitation (client);
CREATE INDEX registry_invitation_revision ON registry_invitation (revision);

-- What gateways saw. No secret, no history, and no revision: it changes all the time, and must wake up nobody.

-- When a client was last heard, by which gateway, and with which keys on both sides.
CREATE TABLE registry_presence (
    client TEXT PRIMARY KEY,
    gateway TEXT NOT NULL,
    public_key TEXT NOT NULL,
    identity TEXT NOT NULL,
    last_seen_ms BIGINT NOT NULL,
    post_quantum BIGINT NOT NULL
);

-- The gateways that run, and the revision that each has applied.
CREATE TABLE registry_gateway (
    name TEXT PRIMARY KEY,
    revision BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL
);

-- How a gateway cut a client off.
CREATE TABLE registry_cut (
    gateway TEXT NOT NULL,
    client TEXT NOT NULL,
    revision BIGINT NOT NULL,
    applied_ms BIGINT NOT NULL,
    last_forwarded_ms BIGINT,
    flows BIGINT NOT NULL,
    sessions BIGINT NOT NULL,
    PRIMARY KEY (gateway, client, revision)
);
