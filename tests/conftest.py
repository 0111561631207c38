"""Before any test module: the edge's TLS setting counts only if it is made before grpc is first imported."""

import exchange.rpc  # noqa: F401 - sets the transport before grpc is imported
