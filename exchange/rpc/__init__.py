"""The edge: gRPC servers and clients in front of a node. Everything asynchronous is here, and nothing is decided here.

TLS 1.3 only. gRPC has no setting for that, but with our P-256 leaves an RSA cipher suite leaves TLS 1.2 without a
common one (measured). The setting counts only if it is in the environment before ``grpc`` is first imported, so it is
made here, and nothing else of this package is imported earlier. TLS 1.3 suites and the hybrid key exchange stay as
gRPC has them.
"""

from __future__ import annotations

import os
import sys

from keys.errors import IntegrityError

_VARIABLE = "GRPC_SSL_CIPHER_SUITES"
_SUITES = "ECDHE-RSA-AES256-GCM-SHA384"

_late = "grpc" in sys.modules and os.environ.get(_VARIABLE) != _SUITES
os.environ[_VARIABLE] = _SUITES
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its lines are free text that strangers cause; ours say what happened


def check_transport() -> None:
    """Refuse to start where TLS 1.2 would be offered.

    Raises:
        IntegrityError: grpc was imported before this package, with another setting.
    """
    if _late:
        raise IntegrityError(f"grpc was imported before exchange.rpc, without {_VARIABLE}={_SUITES}: TLS 1.2 is open")
