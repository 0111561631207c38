"""The tests; importing them settles first how grpc does TLS, as every module of ours does."""

import exchange as exchange
