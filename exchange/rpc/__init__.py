"""The edge: gRPC servers and clients in front of a node. Everything asynchronous is here, and nothing is decided here."""
