"""Stamping the newest cosigned checkpoint every so many minutes, beside the services; never in anything's way."""

from __future__ import annotations

import asyncio

from exchange.node.node import Node
from exchange.node.timestamp_authority import TimestampAuthority, stamp
from exchange.rpc.transport.program_log import ProgramLog
from keys.errors import RefusedError, UnavailableError

FIRST_SECONDS = 5.0  # a node that has just begun has no cosigned checkpoint yet


async def stamp_forever(node: Node, authority: TimestampAuthority, log: ProgramLog, every_seconds: float) -> None:
    """Stamp until cancelled; an authority that is silent or wrong is an alarm and is asked again next time.

    Args:
        node: Begun.
        authority: From the settings.
        log: The program's.
        every_seconds: Between two questions.
    """
    pause = min(FIRST_SECONDS, every_seconds)
    while True:
        await asyncio.sleep(pause)
        note = node.witnessed[1] or node.files.published[1]
        pause = every_seconds if note else min(FIRST_SECONDS, every_seconds)
        if not note:
            continue
        try:
            made = await asyncio.to_thread(stamp, node.paths.home, note, authority)
            if made is not None:
                log.write("stamped", size=node.witnessed[0] or node.files.published[0])
        except (RefusedError, UnavailableError):
            log.alarm("no-time-stamp")
        except OSError as error:
            log.fault("stamping", error)
