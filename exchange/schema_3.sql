-- Step 3: which records were in force at which entry of the log, by the position of the entry that adopted them; their
-- order, where versions alone do not tell it; and which readings of a bulletin could not be shown.
CREATE TABLE records_3 (
  kind INTEGER NOT NULL, agency TEXT NOT NULL, rank INTEGER NOT NULL, version INTEGER NOT NULL, position INTEGER NOT NULL,
  digest BLOB NOT NULL, signed BLOB NOT NULL, PRIMARY KEY (kind, agency, rank)
) STRICT;
INSERT INTO records_3 SELECT kind, agency, version, version, 0, digest, signed FROM records;
DROP TABLE records;
ALTER TABLE records_3 RENAME TO records;
CREATE INDEX records_in_force ON records (kind, agency, position);
CREATE INDEX records_newest ON records (position);
CREATE UNIQUE INDEX records_by_digest ON records (digest);
CREATE TABLE openings (
  entry_index INTEGER PRIMARY KEY, bulletin INTEGER NOT NULL, failed INTEGER NOT NULL
) STRICT;
CREATE INDEX openings_of ON openings (bulletin);
-- Bulletins whose content was lost with a disk or a key, and is asked back; which agencies cannot give it.
CREATE TABLE wanted (
  sender TEXT NOT NULL, bulletin_id BLOB NOT NULL, statement_digest BLOB NOT NULL, refused TEXT NOT NULL,
  PRIMARY KEY (sender, bulletin_id)
) STRICT, WITHOUT ROWID;
-- The dispatch of a delivery that was made again for one recipient; every other delivery has its bulletin's.
CREATE TABLE dispatches (queued_index INTEGER PRIMARY KEY, dispatch BLOB NOT NULL) STRICT;
