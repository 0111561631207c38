"""What an officer fills in for each kind: the objects and the body, as commented YAML; the header is made by code.

A line with ``←`` is a blank and ends in an example behind "e.g."; a line that begins with ``#`` is optional.
"""
