-- What receivers are still to be told, in order. body: the event as JSON; not_before: not earlier than this time.
CREATE TABLE notifications (
        id TEXT PRIMARY KEY,
        receiver TEXT NOT NULL,
        body TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        not_before INTEGER NOT NULL
);
