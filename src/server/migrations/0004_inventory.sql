-- Until when another machine may enrol under a node's name, by a person's word; and since when a node that was
-- made known by a list is waited for.
ALTER TABLE nodes ADD COLUMN replace_until INTEGER;
ALTER TABLE nodes ADD COLUMN imported_at INTEGER;
