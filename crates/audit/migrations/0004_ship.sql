-- How far each receiver of the log has been served: every record of the chain up to and including `seq`.
CREATE TABLE audit_cursor (
    shipper TEXT   NOT NULL,
    chain   TEXT   NOT NULL,
    seq     BIGINT NOT NULL,
    PRIMARY KEY (shipper, chain)
);
