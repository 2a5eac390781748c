-- As sqlite/0001.sql, and what many nodes share. Names that are put in order are compared byte by byte, as there.
-- Times are milliseconds since 1970; ids are 16 bytes. Nothing here lets anybody in: passwords are Argon2id hashes,
-- client secrets, registration tokens and invitation codes are SHA-256 digests, keys are sealed, handles and tokens are not stored at all.

CREATE TABLE users (
    id          BYTEA  NOT NULL PRIMARY KEY,
    version     BIGINT NOT NULL,
    name        TEXT COLLATE "C" NOT NULL UNIQUE,
    password    TEXT   NOT NULL,
    roles       TEXT   NOT NULL, -- JSON array
    profile     TEXT   NOT NULL, -- JSON object
    epoch       BIGINT NOT NULL,
    disabled_at BIGINT,
    added_at    BIGINT NOT NULL
);

-- A row with ended_at is a tombstone: a late writer learns "gone". It is removed by a job, after the log forgot it.
CREATE TABLE sessions (
    id                BYTEA  NOT NULL PRIMARY KEY,
    version           BIGINT NOT NULL,
    parent            BYTEA,
    granted_by        BYTEA,
    client            TEXT   NOT NULL,
    user_id           BYTEA,
    epoch             BIGINT,
    auth_at           BIGINT,
    methods           TEXT,   -- JSON array, the amr claim
    assurance         TEXT,
    remembered        BOOLEAN,
    device            TEXT   NOT NULL, -- JSON
    opened_at         BIGINT NOT NULL,
    seen_at           BIGINT NOT NULL,
    idle_ms           BIGINT NOT NULL,
    ends_at           BIGINT NOT NULL,
    salt              BYTEA  NOT NULL,
    cookie_generation BIGINT,
    cookie_key        BYTEA,
    families          TEXT   NOT NULL, -- JSON
    ended_at          BIGINT,
    end_reason        TEXT
);
CREATE INDEX sessions_of_user ON sessions (user_id, opened_at) WHERE ended_at IS NULL;
CREATE INDEX sessions_of_parent ON sessions (parent) WHERE parent IS NOT NULL;
-- A client has one session under a browser session.
CREATE UNIQUE INDEX children ON sessions (parent, client) WHERE parent IS NOT NULL AND ended_at IS NULL;
-- What outlives the login of an app's session is in one session beside it.
CREATE UNIQUE INDEX detached ON sessions (granted_by) WHERE granted_by IS NOT NULL AND ended_at IS NULL;
-- A machine, which is neither a user nor a visitor with a cookie, has one session.
CREATE UNIQUE INDEX machines ON sessions (client)
    WHERE user_id IS NULL AND parent IS NULL AND cookie_generation IS NULL AND ended_at IS NULL;
CREATE INDEX sessions_by_end ON sessions (ends_at);
CREATE INDEX tombstones_by_age ON sessions (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE session_data (
    session  BYTEA  NOT NULL,
    client   TEXT   NOT NULL,
    version  BIGINT NOT NULL,
    document TEXT   NOT NULL, -- JSON object
    PRIMARY KEY (session, client)
);

CREATE TABLE clients (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    version      BIGINT NOT NULL,
    secret       BYTEA,
    registration BYTEA, -- the digest of its registration access token, if it registered itself
    document     TEXT   NOT NULL -- JSON
);

-- Initial access tokens, with which clients register themselves, by the SHA-256 of each.
CREATE TABLE registration_tokens (
    digest     BYTEA  NOT NULL PRIMARY KEY,
    uses       BIGINT NOT NULL, -- how many are left
    expires_at BIGINT NOT NULL
);

CREATE TABLE keys (
    id           BYTEA  NOT NULL PRIMARY KEY,
    usage        TEXT   NOT NULL,
    sealed       BYTEA  NOT NULL,
    created_at   BIGINT NOT NULL,
    activates_at BIGINT NOT NULL,
    withdrawn_at BIGINT
);

-- Authorization codes, by the SHA-256 of each. A used one names the session that it got and stays for as long as the log
-- does, so that a second use ends what the first one got.
CREATE TABLE codes (
    digest       BYTEA  NOT NULL PRIMARY KEY,
    client       TEXT   NOT NULL,
    asked        TEXT   NOT NULL, -- JSON
    session      BYTEA  NOT NULL,
    epoch        BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    child        BYTEA
);
CREATE INDEX codes_of_session ON codes (session, expires_at);
CREATE INDEX codes_by_expiry ON codes (expires_at);

-- "Client C was told of session S": it got an ID token, and wants to hear of the end. A row with due_at waits to be
-- delivered; it goes when the client has heard.
CREATE TABLE told (
    session  BYTEA  NOT NULL,
    client   TEXT   NOT NULL,
    subject  TEXT   NOT NULL, -- as the client knows it
    ended_at BIGINT,
    due_at   BIGINT,
    tries    BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (session, client)
);
CREATE INDEX told_due ON told (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX told_client ON told (client);

-- Pushed authorization requests, by the SHA-256 of their random part.
CREATE TABLE pushed (
    digest     BYTEA  NOT NULL PRIMARY KEY,
    client     TEXT   NOT NULL,
    form       TEXT   NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX pushed_of_client ON pushed (client);
CREATE INDEX pushed_by_expiry ON pushed (expires_at);

-- Devices that wait for their users, by the SHA-256 of their codes.
CREATE TABLE devices (
    digest      BYTEA   NOT NULL PRIMARY KEY,
    user_code   BYTEA   NOT NULL UNIQUE,
    client      TEXT    NOT NULL,
    scope       TEXT    NOT NULL,
    resource    TEXT,
    interval_ms BIGINT  NOT NULL,
    next_at     BIGINT  NOT NULL,
    denied      BOOLEAN NOT NULL,
    expires_at  BIGINT  NOT NULL
);
CREATE INDEX devices_of_client ON devices (client, expires_at);
CREATE INDEX devices_by_expiry ON devices (expires_at);

-- What users allow to clients that are not ours.
CREATE TABLE allowed (
    user_id BYTEA  NOT NULL,
    client  TEXT COLLATE "C" NOT NULL,
    scope   TEXT   NOT NULL,
    since   BIGINT NOT NULL,
    PRIMARY KEY (user_id, client)
);
CREATE INDEX allowed_to_client ON allowed (client);

CREATE TABLE invitations (
    digest     BYTEA  NOT NULL PRIMARY KEY,
    expires_at BIGINT NOT NULL
);

-- The revocation log. The tag makes a cursor that a restored backup cannot continue.
CREATE TABLE revocations (
    sequence BIGINT  NOT NULL PRIMARY KEY,
    tag      BYTEA    NOT NULL,
    entry    BYTEA   NOT NULL,
    at       BIGINT  NOT NULL
);
CREATE INDEX revocations_by_age ON revocations (at);

-- One row: where the log ends. Whoever adds to it holds this row until the commit.
CREATE TABLE log_head (
    id       BIGINT NOT NULL PRIMARY KEY,
    sequence BIGINT NOT NULL,
    tag      BYTEA  NOT NULL,
    settings BIGINT NOT NULL -- how often clients and keys have changed
);
INSERT INTO log_head VALUES (1, 0, '\x0000000000000000', 0);

-- The processes that share this database. Whoever confirms an end waits for each of them, and removes who was silent.
CREATE TABLE nodes (
    id           BYTEA  NOT NULL PRIMARY KEY,
    name         TEXT   NOT NULL,
    public_url   TEXT   NOT NULL, -- all of them have one
    version      TEXT   NOT NULL,
    started_at   BIGINT NOT NULL,
    seen_at      BIGINT NOT NULL, -- for people: clocks differ
    acknowledged BIGINT NOT NULL,
    lease_ms     BIGINT NOT NULL,
    renewals     BIGINT NOT NULL,
    followers    BIGINT NOT NULL
);

-- Who does what is done once for all, and until when. Who comes later takes it over.
CREATE TABLE jobs (
    name       TEXT   NOT NULL PRIMARY KEY,
    holder     BYTEA  NOT NULL,
    held_until BIGINT NOT NULL
);

-- One row: the longest lease that was ever granted. After a start nobody confirms an end before it must be over.
CREATE TABLE leases (
    id         BIGINT NOT NULL PRIMARY KEY,
    longest_ms BIGINT NOT NULL
);

-- What may be used once, such as a client's assertion, by a digest, for as long as it could be used again.
CREATE TABLE used (
    digest    BYTEA  NOT NULL PRIMARY KEY,
    forget_at BIGINT NOT NULL
);
CREATE INDEX used_by_age ON used (forget_at);

-- Clients of which a follower trusts the expiry of tokens alone: nothing is confirmed for them.
CREATE TABLE trusting (
    client  TEXT   NOT NULL PRIMARY KEY,
    seen_at BIGINT NOT NULL
);

CREATE TABLE audit (
    sequence BIGINT  NOT NULL GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    at       BIGINT  NOT NULL,
    act      TEXT    NOT NULL,
    reason   TEXT,
    user_id  BYTEA,
    session  BYTEA,
    client   TEXT
);
CREATE INDEX audit_of_user ON audit (user_id, sequence);

-- While this store is moved to another one or filled from one, or once it was moved away: no server starts on it then.
-- The part without a name says which of these; the others how far each table is filled.
CREATE TABLE moving (
    part  TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL -- JSON
);
