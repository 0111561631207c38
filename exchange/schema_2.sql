-- Step 2: what is kept until when, what is held back from erasure, and the content keys in rows of their own, so that
-- a new storage key rewrites 136 bytes a bulletin and an erasure leaves nothing to open.
CREATE TABLE retention (
  entry_index INTEGER PRIMARY KEY, until_day INTEGER NOT NULL, rule INTEGER NOT NULL, erased INTEGER NOT NULL
) STRICT;
CREATE INDEX retention_due ON retention (until_day) WHERE erased = 0;
CREATE TABLE holds (entry_index INTEGER PRIMARY KEY, bulletin INTEGER NOT NULL, released INTEGER NOT NULL) STRICT;
CREATE INDEX holds_open ON holds (bulletin) WHERE released = 0;
CREATE TABLE stored_keys (entry_index INTEGER PRIMARY KEY, stored_key BLOB NOT NULL) STRICT;
