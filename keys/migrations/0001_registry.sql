-- The registry: who may connect. Rows are never deleted, so that names, keys and addresses in the audit log stay
-- unambiguous. Times are milliseconds since 1970 (UTC); secrets are sealed under the master key of the keystore.

-- One row. Raised by every change, whose rows carry the new number: a running gateway asks for what is newer.
CREATE TABLE registry_revision (
    id BIGINT PRIMARY KEY,
    revision BIGINT NOT NULL
);
INSERT INTO registry_revision (id, revision) VALUES (1, 0);

CREATE TABLE registry_setting (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE registry_identity (
    id TEXT PRIMARY KEY,
    public_key TEXT NOT NULL UNIQUE,
    sealed_private_key TEXT NOT NULL,
    state TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    revision BIGINT NOT NULL
);

CREATE TABLE registry_client (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    -- The name in lower case: two names must differ in more than that.
    name_key TEXT NOT NULL UNIQUE,
    operator TEXT NOT NULL,
    role TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    expires_ms BIGINT,
    created_ms BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX registry_client_revision ON registry_client (revision);

CREATE TABLE registry_client_key (
    public_key TEXT PRIMARY KEY,
    client TEXT NOT NULL REFERENCES registry_client (id),
    sealed_preshared_key TEXT NOT NULL,
    valid_from_ms BIGINT NOT NULL,
    valid_until_ms BIGINT
);
CREATE INDEX registry_client_key_client ON registry_client_key (client);

CREATE TABLE registry_address (
    address TEXT PRIMARY KEY,
    client TEXT NOT NULL REFERENCES registry_client (id)
);
CREATE INDEX registry_address_client ON registry_address (client);

-- The number of the next address to hand out, for each range that addresses were ever taken from.
CREATE TABLE registry_range (
    cidr TEXT PRIMARY KEY,
    next_number BIGINT NOT NULL
);
