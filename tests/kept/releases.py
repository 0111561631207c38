"""The releases whose homes are kept; each later one is a row more, and every test of kept homes takes it up."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One release, by the day on which its homes were made."""

    date: str  # the archive's name
    commit: str  # whose program made it; the whole hash
    mixes: bool = True  # its nodes take what later ones sign; False where formats of entries moved after it

    def unpack(self, folder: Path) -> dict[str, str]:
        """Unpack the homes; returns the story: which bulletin is which."""
        with tarfile.open(FOLDER / f"{self.date}.tar.xz") as archive:
            archive.extraction_filter = lambda member, _: member  # our own, with its modes
            archive.extractall(folder)
        story: dict[str, str] = json.loads((folder / "story.json").read_text())
        assert story["commit"] == self.commit
        return story


RELEASES = (Release(date="2026-11-30", commit="6c83f7a6d659f4bdb50b47073d7e5f25d13460e8", mixes=False),)
