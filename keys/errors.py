"""Three families of errors, by whose move it is.

Lower layers raise these; ``exchange.rpc.transport.status`` alone turns them into gRPC codes, the command modules alone into
words, hints and exit codes. Messages carry ids, digests, sizes and counts, never content.
"""


class RefusedError(Exception):
    """The sender must change something.

    ``code`` is a public refusal code: a name of ``audit.v1.Outcome`` without its prefix, as ``NOT_FOR_US``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class UnavailableError(Exception):
    """Nothing is wrong with what was sent; try again."""

    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class IntegrityError(Exception):
    """Our own record contradicts itself: the node stops and says so."""
