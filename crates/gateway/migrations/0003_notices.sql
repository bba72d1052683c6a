-- Notices: what somebody is to be told of, the mails made of it, and how far the journal was read for them.
-- Times are microseconds since 1970-01-01 UTC.

CREATE TABLE notice_item (
    seq      INTEGER PRIMARY KEY,
    role     TEXT    NOT NULL,   -- admin:NAME, recipient, sender
    key      TEXT    NOT NULL,   -- the address in lower case
    address  TEXT    NOT NULL,   -- as it was written
    message  TEXT    NOT NULL,
    time     INTEGER NOT NULL,   -- of the message
    category TEXT    NOT NULL,
    held     INTEGER NOT NULL,   -- 1: it waits in the vault
    language TEXT    NOT NULL,
    listener TEXT    NOT NULL,   -- by which it came
    row      TEXT    NOT NULL,   -- what is told, JSON
    capped   INTEGER NOT NULL DEFAULT 0, -- 1: the day's limit has put it off
    notice   TEXT,               -- the mail it stands in; NULL is none yet
    UNIQUE (role, key, message)
) STRICT;

CREATE INDEX notice_item_waiting ON notice_item (role, key, time) WHERE notice IS NULL;
CREATE INDEX notice_item_notice  ON notice_item (notice) WHERE notice IS NOT NULL;
CREATE INDEX notice_item_time    ON notice_item (time);

CREATE TABLE notice (
    id       TEXT    NOT NULL PRIMARY KEY,
    role     TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    address  TEXT    NOT NULL,
    made     INTEGER NOT NULL,
    capped   INTEGER NOT NULL,   -- 1: it waited for the day's limit
    last     INTEGER NOT NULL,   -- 1: the last one that the day's limit allows
    state    TEXT    NOT NULL,   -- made, sent, failed
    tries    INTEGER NOT NULL,
    next_try INTEGER NOT NULL,
    detail   TEXT    NOT NULL,   -- what happened last
    claimed  INTEGER             -- since when somebody sends it
) STRICT;

CREATE INDEX notice_state ON notice (state, next_try);
CREATE INDEX notice_key   ON notice (role, key, made);

-- The last row of `message` that was looked at.
CREATE TABLE notice_place (
    one   INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    place INTEGER NOT NULL
) STRICT;
