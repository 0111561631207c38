-- Schema 1 of a node's database. Steps are numbered, forward only; the number is PRAGMA user_version.
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;

-- The log. What stands here is never changed.
CREATE TABLE entries (idx INTEGER PRIMARY KEY, entry BLOB NOT NULL, leaf_hash BLOB NOT NULL) STRICT;
CREATE TRIGGER entries_stay BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'entries are never changed'); END;
CREATE TRIGGER entries_remain BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'entries are never removed'); END;
CREATE TABLE tiles (level INTEGER NOT NULL, idx INTEGER NOT NULL, hashes BLOB NOT NULL, PRIMARY KEY (level, idx)) STRICT;
CREATE TRIGGER tiles_stay BEFORE UPDATE ON tiles BEGIN SELECT RAISE(ABORT, 'tiles are never changed'); END;
CREATE TRIGGER tiles_remain BEFORE DELETE ON tiles BEGIN SELECT RAISE(ABORT, 'tiles are never removed'); END;

-- Bulletins sent and received. The unique index is ordered by time (UUIDv7), so that it grows at its end.
CREATE TABLE bulletins (
  entry_index INTEGER PRIMARY KEY, sender TEXT NOT NULL, bulletin_id BLOB NOT NULL, statement_digest BLOB NOT NULL,
  kind TEXT NOT NULL, number TEXT NOT NULL, tlp INTEGER NOT NULL, classification INTEGER NOT NULL,
  urgency INTEGER NOT NULL, status INTEGER NOT NULL, reply_due_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
  not_understood INTEGER NOT NULL, at_ms INTEGER NOT NULL, opened INTEGER NOT NULL, sent INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX bulletins_once ON bulletins (sender, bulletin_id);
CREATE TABLE contents (
  entry_index INTEGER PRIMARY KEY, dispatch BLOB NOT NULL, body BLOB NOT NULL, wrap BLOB NOT NULL, stored_key BLOB NOT NULL
) STRICT;

-- Lanes and their deliveries. A delivery's key is lane << 40 | sequence: it grows at its lane's end.
CREATE TABLE lanes (
  id INTEGER PRIMARY KEY, outgoing INTEGER NOT NULL, peer TEXT NOT NULL, class INTEGER NOT NULL, epoch INTEGER NOT NULL,
  sequence INTEGER NOT NULL, digest BLOB NOT NULL, head BLOB NOT NULL, head_time_ms INTEGER NOT NULL,
  taken INTEGER NOT NULL, stopped INTEGER NOT NULL, UNIQUE (outgoing, peer, class, epoch)
) STRICT;
CREATE TABLE outbound (
  id INTEGER PRIMARY KEY, entry_index INTEGER NOT NULL, queued_index INTEGER NOT NULL, delivery BLOB NOT NULL,
  digest BLOB NOT NULL, wrap BLOB NOT NULL,
  opening BLOB NOT NULL, state INTEGER NOT NULL, reason INTEGER NOT NULL, receipt BLOB NOT NULL, since_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX outbound_of ON outbound (entry_index);
CREATE TABLE inbound (
  id INTEGER PRIMARY KEY, delivery BLOB NOT NULL, digest BLOB NOT NULL, entry_index INTEGER NOT NULL,
  original_index INTEGER NOT NULL
) STRICT;
CREATE TABLE attempts (id INTEGER PRIMARY KEY, died INTEGER NOT NULL) STRICT;

-- What was adopted, and what hangs on it.
CREATE TABLE records (
  kind INTEGER NOT NULL, agency TEXT NOT NULL, version INTEGER NOT NULL, digest BLOB NOT NULL, signed BLOB NOT NULL,
  PRIMARY KEY (kind, agency, version)
) STRICT;
CREATE TABLE catalogues (digest BLOB NOT NULL, name TEXT NOT NULL, content BLOB NOT NULL, PRIMARY KEY (digest, name)) STRICT;
CREATE TABLE peer_checkpoints (peer TEXT PRIMARY KEY, size INTEGER NOT NULL, note TEXT NOT NULL) STRICT;

-- Corrections and recalls, by what they are about.
CREATE TABLE notices (
  sender TEXT NOT NULL, target_id BLOB NOT NULL, relation INTEGER NOT NULL, bulletin_id BLOB NOT NULL,
  PRIMARY KEY (sender, target_id, relation, bulletin_id)
) STRICT, WITHOUT ROWID;

-- Reading: nonces for ever; what opens the digests of LISTED, OPENED and ACCESS_DENIED may be erased.
CREATE TABLE nonces (nonce BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE readings (entry_index INTEGER PRIMARY KEY, random BLOB NOT NULL, request BLOB NOT NULL) STRICT;
CREATE TABLE numbers (kind TEXT NOT NULL, year INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (kind, year)) STRICT;
CREATE TABLE evidence (id INTEGER PRIMARY KEY, entry_index INTEGER NOT NULL, what TEXT NOT NULL, content BLOB NOT NULL) STRICT;
