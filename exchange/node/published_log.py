"""A node's log as files: published after commits, at most once a second, and the newest cosigned checkpoint with them.

What is published carries, beside the log's Ed25519 line, its own timed ML-DSA-44 line (C2SP type 0x06), where the node
has such a key; receipts carry the Ed25519 line alone. What cannot be published is signed no further.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from audit.log.log import LogReads
from audit.log.publisher import Publisher
from audit.note.checkpoint import VerifierKey, parse_note, verify_note
from audit.note.cosignature import add_lines, cosign, cosigner_key
from audit.note.policy import format_vkeys
from audit.tiles.tile_names import WITNESSED
from audit.verify.trust import policy_of
from keys.errors import IntegrityError, RefusedError
from keys.files import PUBLIC, write_file
from keys.roster import Roster
from keys.signer import Signer

PUBLISH_SECONDS = 1.0  # the log's files follow a commit within a second, and witnesses see one of them in each
VKEYS_FILE = "witnesses.vkeys"

Published = tuple[int, str]  # size and note


class LogFiles:
    """Writes one log's folder, in a thread of its own.

    Args:
        folder: Its files.
        open_reads: Opens a reading connection; called in that thread.
        key: The log's own.
        second: Signs the log's ML-DSA-44 line; None where the node has no such key.
        failed: Told what went wrong; nothing is written after that.
    """

    def __init__(
        self,
        folder: Path,
        open_reads: Callable[[], LogReads],
        key: VerifierKey,
        second: Signer | None,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._folder, self._open_reads, self._key, self._second, self._failed = folder, open_reads, key, second, failed
        self._newest: Published = (0, "")
        self.published: Published = (0, "")  # what the files hold since this start
        self.witnessed = self._read_witnessed()  # the newest that its quorum has cosigned
        self.on_published: list[Callable[[int, str], None]] = []  # called in the thread
        self._publisher: Publisher | None = None
        self._work = threading.Lock()
        self._wanted, self._stopping, self._halted = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="tiles", daemon=True)

    def start(self) -> None:
        """Publish what is wanted from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Publish the last checkpoint, then end."""
        self._stopping.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join()

    def halt(self) -> None:
        """Publish nothing more: what is published is signed a second time, and this log may be a copy's."""
        self._halted.set()

    def want(self, size: int, note: str) -> None:
        """Have a checkpoint published within a second."""
        self._newest = (size, note)
        self._wanted.set()

    def publish_now(self) -> Published:
        """Publish the newest checkpoint in the caller's thread; return what the files hold then."""
        try:
            self._publish()
        except Exception as error:  # noqa: BLE001 - what cannot be published is signed no further
            self._failed(error)
        return self.published

    def add_cosigned(self, size: int, note: str) -> None:
        """Write a checkpoint of ours that its quorum has cosigned; every line in it is verified.

        One that is smaller than the newest cosigned one changes nothing.
        """
        try:
            with self._work:
                if size >= self.witnessed[0]:
                    self._open().add_cosigned(note)
                    self.witnessed = (size, note)
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._wanted.wait()
                self._wanted.clear()
                self._publish()
                self._stopping.wait(PUBLISH_SECONDS)
            self._publish()
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)

    def _publish(self) -> None:
        with self._work:
            size, note = self._newest
            if not note or size == self.published[0] or self._halted.is_set():
                return
            note = self._with_second_line(note)
            self._open().publish(note)
            self.published = (size, note)
        for tell in self.on_published:
            tell(size, note)

    def _with_second_line(self, note: str) -> str:
        if self._second is None:
            return note
        checkpoint = parse_note(note).checkpoint
        return add_lines(note, cosign(checkpoint, checkpoint.origin, self._second, time.time_ns() // 10**9))

    def _open(self) -> Publisher:
        if self._publisher is None:
            second = ""
            if self._second is not None:
                second = str(cosigner_key(self._key.name, self._second.key.public_key))
            self._publisher = Publisher(self._folder, self._open_reads(), self._key, second)
        return self._publisher

    def _read_witnessed(self) -> Published:
        path = self._folder / WITNESSED
        try:
            note = path.read_text("utf-8")
            return verify_note(note, self._key).size, note
        except FileNotFoundError:
            return 0, ""
        except (RefusedError, UnicodeDecodeError) as error:
            raise IntegrityError(f"{path} is not this log's: {error}") from error


def write_witnesses(home: Path, roster: Roster, agency: str) -> None:
    """Write ``witnesses.vkeys``: the roster's quorum and who witnesses this agency's log, for any tool to read."""
    path, text = home / VKEYS_FILE, format_vkeys(policy_of(roster, agency))
    if path.exists() and path.read_text("utf-8") == text:
        return
    write_file(path, text.encode(), mode=PUBLIC, replace=True)
