"""Three families of errors, by whose move it is.

Lower layers raise these; ``exchange.rpc.transport.status`` alone turns them into gRPC codes, ``keys.cli.failure`` alone
into words, hints and exit codes, both by the table in ``keys.refusals``. Messages carry ids, digests, sizes and counts,
never content.
"""

from keys.refusals import row_of


class RefusedError(Exception):
    """The sender must change something.

    ``code`` is a public refusal code: a name of ``audit.v1.Outcome`` without its prefix, as ``NOT_FOR_US``; or, for what
    never leaves this machine, that of another ending.

    Raises:
        LookupError: The code has no row in ``keys.refusals``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = row_of(code).code

    @property
    def exit_as(self) -> str:
        """Return the code whose exit code ends a command: its own, but where only its bearer knows better."""
        return self.code


class UnavailableError(Exception):
    """Nothing is wrong with what was sent; try again."""

    code = "UNAVAILABLE"

    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class IntegrityError(Exception):
    """Our own record contradicts itself: the node stops and says so."""

    code = "INTEGRITY"
