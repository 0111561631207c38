"""Names of files in a home that tests look into, copy, damage or put back; the product leaves them to its engines."""

DATABASE, LOCK, WITNESS = "node.db", "lock.db", "witness.db"
