"""Bulletins between agencies: values, acts, the node, its clients.

gRPC reads its cipher suites from the environment when it is first imported, and has no other setting that leaves TLS
1.3 alone: with our P-256 leaves an RSA suite leaves TLS 1.2 without a common one (measured). Importing anything of
this package makes the setting, so no module of ours has to be imported before another.
"""

from __future__ import annotations

import os
import sys

_VARIABLE, _SUITES = "GRPC_SSL_CIPHER_SUITES", "ECDHE-RSA-AES256-GCM-SHA384"

# Whether another program had imported grpc before, with another setting; whoever opens a socket asks.
TLS_12_IS_OPEN = "grpc" in sys.modules and os.environ.get(_VARIABLE) != _SUITES
os.environ[_VARIABLE] = _SUITES
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its lines are free text that strangers cause; ours say what happened
