"""Every command, as typed: ``make transcripts`` writes what this test compares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.running import Federation
from tests.transcripts import files, regenerate, stage


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with stage(tmp_path_factory.mktemp("transcripts")) as made:
        yield made


@pytest.mark.parametrize("name", files())
def test_transcript_is_what_is_printed(name: str, federation: Federation) -> None:
    path = files()[name]
    assert regenerate(path, federation) == path.read_text()
