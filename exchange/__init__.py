"""Bulletins between agencies: values, acts, the node, its clients."""
