"""Names of files in a home that tests look into, copy, damage or put back; the product leaves them to its engines."""

DATABASE = "node.db"
