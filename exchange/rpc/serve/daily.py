"""A node's daily work beside its services, in a thread of its own: at the start, then once a day.

What cannot be done now is tried again soon. A node that drains waits for the act that is on its way, never for more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from exchange.acts.unit_of_work import UnitOfWork
from exchange.node.maintenance import Done, Upkeep
from exchange.rpc.transport.program_log import ProgramLog
from keys.errors import IntegrityError, UnavailableError

DAY_SECONDS = 86_400.0
AGAIN_SECONDS = 60.0  # after a run that could not be finished


async def keep_up(
    upkeep: Upkeep,
    log: ProgramLog,
    failed: Callable[[BaseException], None],
    *,
    renew: Callable[[], Awaitable[None]],
    day_seconds: float = DAY_SECONDS,
    again_seconds: float = AGAIN_SECONDS,
) -> None:
    """Run it until cancelled.

    Args:
        upkeep: Of this node.
        log: The program's.
        failed: Told what only a new start can cure; nothing more is signed then.
        renew: Makes the next encryption keys, before old ones are destroyed; both write the same file.
        day_seconds: Between two runs.
        again_seconds: After one that could not be finished.
    """
    upkeep.act = partial(_hand_over, upkeep, asyncio.get_running_loop())
    while True:
        try:
            await renew()
            done = await _run(upkeep)
            pause = day_seconds if done.scrubbed else again_seconds
            if done.erased or done.storage_keys or done.windows:
                log.write("erased", count=done.erased)
        except UnavailableError:
            pause = again_seconds
        except IntegrityError as error:
            failed(error)
            return
        except Exception as error:  # noqa: BLE001 - what was not erased must be seen, and tried again
            log.fault("upkeep", error)
            pause = again_seconds
        await asyncio.sleep(pause)


def _hand_over(upkeep: Upkeep, loop: asyncio.AbstractEventLoop, act: Callable[[UnitOfWork], Any]) -> Any:
    """Have an act run in the loop's own thread, as everybody's: whoever is told of its group lives there."""

    async def submit() -> Any:
        return await upkeep.writer.submit(act)

    return asyncio.run_coroutine_threadsafe(submit(), loop).result()


async def _run(upkeep: Upkeep) -> Done:
    """Run once beside the loop; a cancelled run ends at its next act, and is waited for."""
    running = asyncio.ensure_future(asyncio.to_thread(upkeep.run))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        upkeep.stop()
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # looked at: nobody else will, and the next run meets it again
        raise
