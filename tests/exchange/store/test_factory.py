"""A store is named by a URI; the engine of its scheme makes and opens it, and nothing else does."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path

import pytest

from exchange.node.config import CONFIG_FILE, ConfigError, NodeConfig, format_config, load_config, paths_of
from exchange.store.factory import (
    copy_store,
    create_store,
    engine_version,
    may_be_written,
    open_aside,
    open_reading,
    open_store,
    read_old_entry,
    store_exists,
    store_files,
    store_in,
)
from exchange.store.home_paths import Paths
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.identity import AgencyId
from keys.uri import uri_place
from tests.exchange.store.rows import content, entries, stored


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """A closed store with three entries and a bulletin."""
    uri = Paths(home=tmp_path).store
    store = create_store(uri)
    with store.transaction() as rows:
        rows.append_entries(entries(0, 3))
        rows.add_bulletin(stored(1), content(1))
    store.close()
    return uri


@pytest.mark.parametrize("named", ["node.db", "postgres:node", "", ":node.db", "SQLITE:node.db"])
def test_a_uri_without_an_engine_of_ours_is_refused_with_those_that_there_are(named: str) -> None:
    for use in (create_store, open_store, open_reading, open_aside, store_exists, store_files, engine_version):
        with pytest.raises(RefusedError, match="names no engine of a store; known: sqlite:") as refused:
            use(named)
        assert refused.value.code == "MALFORMED"


@pytest.mark.parametrize("name", ["../node.db", "/srv/node.db", "a/node.db", "", ".", ".."])
def test_a_home_names_no_store_out_of_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(RefusedError, match="does not name a file in the home"):
        store_in(tmp_path, f"sqlite:{name}")


def test_a_store_is_in_its_home_wherever_the_program_stands(tmp_path: Path) -> None:
    with chdir(tmp_path):
        assert Paths(home=Path("home")).store == f"sqlite:{tmp_path}/home/node.db"
        assert Paths(home=Path("home")).store_before(2) == f"sqlite:{tmp_path}/home/before-epoch-2/node.db"


def test_a_path_is_taken_as_it_stands(tmp_path: Path) -> None:
    uri = store_in(tmp_path, "sqlite:a b?mode=ro&c%20#d.db")
    create_store(uri).close()
    assert [each.name for each in tmp_path.iterdir()] == ["a b?mode=ro&c%20#d.db"]
    assert open_store(uri).reads().size() == 0
    assert open_aside(uri).name == uri_place(uri) == str(tmp_path / "a b?mode=ro&c%20#d.db")


def test_one_store_is_opened_for_work_for_reading_and_aside(uri: str) -> None:
    for use in (open_store, open_reading, open_aside):
        store = use(uri)
        assert store.name == uri_place(uri)
        assert store.reads().size() == store.reader().size() == 3
        store.close()
    assert store_exists(uri)
    assert may_be_written(uri)
    with pytest.raises(IntegrityError):
        create_store(uri)


def test_what_is_not_there_is_not_made(tmp_path: Path) -> None:
    uri = Paths(home=tmp_path).store
    for use in (open_store, open_reading):
        with pytest.raises(IntegrityError):
            use(uri)
    with pytest.raises(UnavailableError):
        open_aside(uri)
    assert not store_exists(uri)
    assert not list(tmp_path.iterdir())


def test_an_old_entry_is_read_and_one_that_is_not_there_is_said(uri: str) -> None:
    assert read_old_entry(uri, 2) == entries(2, 1)[0][1]
    with pytest.raises(UnavailableError, match="no entry 3"):
        read_old_entry(uri, 3)


def test_a_copy_is_what_is_carried_from_and_the_original_stays(uri: str, tmp_path: Path) -> None:
    before = [each.read_bytes() for each in store_files(uri) if each.exists()]
    copy, fresh = store_in(tmp_path, "sqlite:copy.db"), store_in(tmp_path, "sqlite:fresh.db")
    copy_store(uri, copy)
    store = create_store(fresh)
    store.carry_from(copy)
    assert store.reads().size() == 0
    assert store.reads().find("HK-IMMD", stored(1).bulletin_id) == stored(1)
    store.close()
    assert [each.read_bytes() for each in store_files(uri) if each.exists()] == before


def test_settings_name_the_store_and_without_them_it_is_the_usual_one(tmp_path: Path) -> None:
    assert paths_of(tmp_path).engine == "sqlite:node.db"
    written = format_config(NodeConfig(agency=AgencyId("HK-SB"), store="sqlite:other.db"))
    (tmp_path / CONFIG_FILE).write_text(written)
    assert load_config(tmp_path).store == "sqlite:other.db"
    assert paths_of(tmp_path).store == f"sqlite:{tmp_path}/other.db"
    assert "store" not in format_config(NodeConfig(agency=AgencyId("HK-SB")))


@pytest.mark.parametrize("line", ['store = "node.db"', 'store = "sqlite:../x"', "store = 5", "store ="])
def test_settings_that_name_no_store_are_refused_wherever_they_are_read(tmp_path: Path, line: str) -> None:
    (tmp_path / CONFIG_FILE).write_text(f'agency = "HK-SB"\n{line}\n')
    for use in (load_config, paths_of):
        with pytest.raises(ConfigError):
            use(tmp_path)
