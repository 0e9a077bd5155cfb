-- The key that signs checkpoints: one row. The public half is in clear, so that a log is checked without a
-- passphrase; the secret half is sealed under the master key of the keystore.
CREATE TABLE audit_key (
    id                 BIGINT NOT NULL PRIMARY KEY,
    public_key         TEXT   NOT NULL,
    sealed_private_key TEXT   NOT NULL,
    created_ms         BIGINT NOT NULL
);
