-- DMARC: what was seen of each message, the reports made of it, and the reports that others sent to us.
-- Times are microseconds since 1970-01-01 UTC.

CREATE TABLE dmarc_message (
    seq    INTEGER PRIMARY KEY,
    time   INTEGER NOT NULL,
    domain TEXT    NOT NULL,   -- the policy domain
    policy TEXT    NOT NULL,   -- its record
    row    TEXT    NOT NULL,   -- the report's row, JSON; equal ones are counted together
    report TEXT                -- the report it stands in; NULL is none yet
) STRICT;

CREATE INDEX dmarc_message_due    ON dmarc_message (domain, time) WHERE report IS NULL;
CREATE INDEX dmarc_message_report ON dmarc_message (report) WHERE report IS NOT NULL;
CREATE INDEX dmarc_message_time   ON dmarc_message (time);

CREATE TABLE dmarc_report (
    id        TEXT    NOT NULL PRIMARY KEY,
    domain    TEXT    NOT NULL,
    begin     INTEGER NOT NULL,
    end       INTEGER NOT NULL, -- not in it any more
    made      INTEGER NOT NULL,
    state     TEXT    NOT NULL, -- made, sent, unwanted, failed
    sent_to   TEXT    NOT NULL, -- JSON list of those who have it
    detail    TEXT    NOT NULL, -- what happened last
    claimed   INTEGER           -- since when somebody sends it
) STRICT;

CREATE INDEX dmarc_report_state ON dmarc_report (state, made);

CREATE TABLE dmarc_received (
    seq       INTEGER PRIMARY KEY,
    org       TEXT    NOT NULL,
    report_id TEXT    NOT NULL,
    domain    TEXT    NOT NULL, -- the policy domain
    begin     INTEGER NOT NULL,
    end       INTEGER NOT NULL,
    imported  INTEGER NOT NULL,
    UNIQUE (org, report_id, domain, begin)
) STRICT;

CREATE TABLE dmarc_received_row (
    report      INTEGER NOT NULL REFERENCES dmarc_received (seq) ON DELETE CASCADE,
    source      TEXT    NOT NULL,
    header_from TEXT    NOT NULL,
    messages    INTEGER NOT NULL,
    passed      INTEGER NOT NULL, -- 1: an aligned identifier passed
    disposition TEXT    NOT NULL,
    dkim        TEXT    NOT NULL, -- what is told of DKIM: pass example.com/selector, aligned
    spf         TEXT    NOT NULL,
    row         TEXT    NOT NULL  -- the whole row, JSON
) STRICT;

CREATE INDEX dmarc_received_row_report ON dmarc_received_row (report);
CREATE INDEX dmarc_received_time       ON dmarc_received (end);
