-- The journal: one row a message, its recipients beside it, and what happened to it since.
-- Times are microseconds since 1970-01-01 UTC. Text compares byte for byte, so ids are case-sensitive.

CREATE TABLE message (
    id            TEXT    NOT NULL PRIMARY KEY,
    time          INTEGER NOT NULL,
    sender        TEXT    NOT NULL,   -- lower case; empty is <>
    sender_domain TEXT    NOT NULL,
    category      TEXT    NOT NULL,
    action        TEXT    NOT NULL,
    client        BLOB,               -- 16 bytes, IPv4 as ::ffff:a.b.c.d, so that a network is a range
    words         TEXT    NOT NULL,   -- subject, From and Message-ID in lower case, for searching
    record        TEXT    NOT NULL,   -- the whole record, JSON
    vault_key     TEXT,
    state         TEXT,               -- NULL when it was never held
    state_time    INTEGER,
    claim         TEXT,               -- who is releasing it now
    remaining     TEXT                -- JSON list of recipients still to be released to; NULL is all
) STRICT;

CREATE INDEX message_time     ON message (time);
CREATE INDEX message_domain   ON message (sender_domain, time);
CREATE INDEX message_category ON message (category, time);
CREATE INDEX message_client   ON message (client, time) WHERE client IS NOT NULL;
CREATE INDEX message_state    ON message (state, category, time) WHERE state IS NOT NULL;

CREATE TABLE recipient (
    message TEXT NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    address TEXT NOT NULL,            -- lower case
    domain  TEXT NOT NULL,
    PRIMARY KEY (message, address)
) STRICT, WITHOUT ROWID;

CREATE INDEX recipient_domain ON recipient (domain);

CREATE TABLE event (
    seq     INTEGER PRIMARY KEY,
    message TEXT    NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    time    INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    detail  TEXT    NOT NULL,
    who     TEXT    NOT NULL
) STRICT;

CREATE INDEX event_message ON event (message, seq);
