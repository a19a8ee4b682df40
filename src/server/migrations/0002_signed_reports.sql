-- Reports are signed by their nodes: the key of each certificate (PEM; NULL for those issued before), and which
-- report was the newest taken.
ALTER TABLE certificates ADD COLUMN public_key TEXT;
ALTER TABLE nodes ADD COLUMN heard_serial TEXT;
ALTER TABLE nodes ADD COLUMN heard_sequence INTEGER;
