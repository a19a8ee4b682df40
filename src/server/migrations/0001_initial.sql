-- Times are Unix milliseconds. Text columns that hold JSON say so.
CREATE TABLE settings (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
);

CREATE TABLE admin_tokens (
        id TEXT PRIMARY KEY,
        hash TEXT NOT NULL,
        name TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER
);

CREATE TABLE join_tokens (
        id TEXT PRIMARY KEY,
        hash TEXT NOT NULL,
        kind TEXT NOT NULL,
        name TEXT,
        labels TEXT,
        uses INTEGER NOT NULL,
        used INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        created_by TEXT
);

-- Which key enrolled with which token: the same machine asking again (it lost the answer) uses nothing up.
CREATE TABLE enrolments (
        token TEXT NOT NULL REFERENCES join_tokens (id) ON DELETE CASCADE,
        key_id TEXT NOT NULL,
        name TEXT NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (token, key_id)
);

CREATE TABLE certificates (
        serial TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        issued_at INTEGER NOT NULL,
        not_after INTEGER NOT NULL,
        revoked_at INTEGER
);
CREATE INDEX certificates_by_name ON certificates (kind, name);

CREATE TABLE nodes (
        name TEXT PRIMARY KEY,
        created_at INTEGER NOT NULL,
        machine_id TEXT,
        token_labels TEXT,
        labels TEXT,
        last_seen_at INTEGER NOT NULL,
        relay TEXT,
        address TEXT,
        certificate_not_after INTEGER NOT NULL,
        revoked_at INTEGER,
        revoked_reason TEXT,
        report TEXT
);

-- What each node is told to run (current) and what a rollback gives it (fallback), as JSON.
CREATE TABLE assignments (
        node TEXT PRIMARY KEY REFERENCES nodes (name) ON DELETE CASCADE,
        version INTEGER NOT NULL,
        current TEXT,
        fallback TEXT
);

CREATE TABLE relays (
        name TEXT PRIMARY KEY,
        created_at INTEGER NOT NULL,
        machine_id TEXT,
        last_seen_at INTEGER NOT NULL,
        address TEXT,
        certificate_not_after INTEGER NOT NULL,
        revoked_at INTEGER
);

CREATE TABLE sources (
        name TEXT PRIMARY KEY,
        created_at INTEGER NOT NULL,
        spec TEXT NOT NULL,
        status TEXT NOT NULL
);

CREATE TABLE declarations (
        node TEXT PRIMARY KEY,
        source TEXT NOT NULL,
        labels TEXT,
        variables TEXT
);

CREATE TABLE fleets (
        name TEXT PRIMARY KEY,
        source TEXT NOT NULL,
        spec TEXT NOT NULL,
        desired TEXT,
        stable TEXT,
        failed_key TEXT,
        rollout TEXT
);

CREATE TABLE revisions (
        digest TEXT PRIMARY KEY,
        fleet TEXT NOT NULL,
        source TEXT NOT NULL,
        commit_id TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        apps TEXT NOT NULL,
        created_at INTEGER NOT NULL
);

CREATE TABLE rollouts (
        id TEXT PRIMARY KEY,
        fleet TEXT NOT NULL,
        about TEXT NOT NULL,
        state TEXT NOT NULL,
        active INTEGER NOT NULL,
        created_at INTEGER NOT NULL
);
CREATE INDEX rollouts_by_fleet ON rollouts (fleet, id);

CREATE TABLE rollout_members (
        rollout TEXT NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
        node TEXT NOT NULL,
        state TEXT NOT NULL,
        PRIMARY KEY (rollout, node)
);

CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        time INTEGER NOT NULL,
        type TEXT NOT NULL,
        message TEXT NOT NULL,
        node TEXT,
        fleet TEXT,
        rollout TEXT,
        source TEXT,
        actor TEXT
);
CREATE INDEX events_by_node ON events (node, seq) WHERE node IS NOT NULL;
CREATE INDEX events_by_rollout ON events (rollout, seq) WHERE rollout IS NOT NULL;
