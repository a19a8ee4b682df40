-- Fleets that people hold at a revision in spite of Git: what Git wants meanwhile, by whom, why, since when (JSON).
ALTER TABLE fleets ADD COLUMN pin TEXT;
