-- What people did (fleet/audit_chain.h). record: the canonical text that its digest covers; time: for searching.
CREATE TABLE audit (
        sequence INTEGER PRIMARY KEY,
        time INTEGER NOT NULL,
        record TEXT NOT NULL,
        digest TEXT NOT NULL
);
CREATE INDEX audit_by_time ON audit (time);

-- What was done to the database beside the server (skerry-server admin-token): the server, which alone knows the
-- head of the chain, takes it from here. act: as JSON.
CREATE TABLE audit_pending (
        id TEXT PRIMARY KEY,
        time INTEGER NOT NULL,
        act TEXT NOT NULL
);
