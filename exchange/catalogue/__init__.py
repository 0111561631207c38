"""The packaged catalogue: directory, policy, code lists, places and case states, as data.

A federation's roster names its catalogue by digest, so these files are only the first one that a node knows.
"""
