"""Benchmarks that print shares of bounds computed in the same run, because a machine's own speed says nothing."""

import exchange.rpc  # noqa: F401 - before grpc anywhere: it settles how grpc does TLS
