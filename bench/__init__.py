"""Benchmarks that print shares of bounds computed in the same run, because a machine's own speed says nothing."""

import exchange as exchange  # it settles how grpc does TLS, before any module here imports that
