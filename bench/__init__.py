"""Benchmarks that print shares of bounds computed in the same run, because a machine's own speed says nothing."""
