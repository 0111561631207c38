"""A bundle's tar has one form: everything else is refused in one line that names the member, and nothing is unpacked."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.tiles.tar import BLOCK, END, header, open_tar, write
from keys.errors import RefusedError
from tests.support.scale import SCALE

MEMBERS = [("README", b"words"), ("tile/0/000", bytes(8192)), ("tile/entries/000", b"x" * 700)]


def tar(members: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    write(out, members)
    return out.getvalue()


def refusal(data: bytes, folder: Path) -> str:
    path = folder / "x.audit"
    path.write_bytes(data)
    with pytest.raises(RefusedError) as caught:
        open_tar(path)
    said = str(caught.value)
    assert caught.value.code == "MALFORMED"
    assert "\n" not in said
    return said


def foreign(folder: Path, *infos: tarfile.TarInfo, kind: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as file:
        for info in infos:
            file.addfile(info, io.BytesIO(bytes(info.size)))
    return out.getvalue()


def info(name: str, **fields: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(made, field, value)
    return made


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}(/[A-Za-z0-9][A-Za-z0-9._-]{0,20}){0,3}", fullmatch=True)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(names, st.binary(max_size=1500), max_size=8))
def test_what_is_written_is_read_and_other_programs_read_it_too(members: dict[str, bytes]) -> None:
    data = tar(sorted(members.items()))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        path.write_bytes(data)
        opened = open_tar(path)
        assert dict(opened.contents()) == members
        assert all(opened.read(name) == value for name, value in members.items())
        with tarfile.open(path) as file:
            assert {m.name: file.extractfile(m).read() for m in file.getmembers()} == members  # type: ignore[union-attr] # plain files


def test_a_long_name_is_split_as_ustar_has_it(tmp_path: Path) -> None:
    name = f"peers/{'a' * 63}.{'b' * 60}/log/1/123456.tlog-proof"
    path = tmp_path / "x"
    path.write_bytes(tar([(name, b"1")]))
    assert list(open_tar(path).members) == [name]
    with tarfile.open(path) as file:
        assert file.getnames() == [name]
    with pytest.raises(RefusedError, match="too long"):
        header("a" * 101, 1)


@pytest.mark.parametrize("names", [("b", "a"), ("a", "a")])
def test_names_that_do_not_ascend_are_neither_written_nor_read(names: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="it comes after"):
        tar([(name, b"") for name in names])
    assert "names ascend, and none stands twice" in refusal(b"".join(header(name, 0) for name in names) + END, tmp_path)


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", "", ".hidden", "a/.b", "-x", "a b", "ä", "a\\b", "a\nb"],
)
def test_a_name_that_points_elsewhere_is_neither_written_nor_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError):
        header(name, 0)
    block = bytearray(header("a" * 40, 0))
    raw = name.encode()
    block[:100] = raw.ljust(100, b"\0")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    assert "header" in refusal(bytes(block) + END, tmp_path)


@pytest.mark.parametrize(
    "member",
    [
        info("a", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        info("a", type=tarfile.LNKTYPE, linkname="README"),
        info("a", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        info("a", type=tarfile.BLKTYPE),
        info("a", type=tarfile.FIFOTYPE),
        info("a", type=tarfile.DIRTYPE),
        info("a", type=tarfile.GNUTYPE_SPARSE),
        info("a", mode=0o4755),
        info("a", mtime=1),
        info("a", uid=1),
        info("a", uname="root"),
        info("a", pax_headers={"path": "/etc/passwd"}),
    ],
    ids=lambda each: f"{each.type!r}-{each.mode:o}-{each.mtime}-{each.uid}-{each.uname}-{len(each.pax_headers)}",
)
def test_what_is_not_a_plain_file_is_refused(member: tarfile.TarInfo, tmp_path: Path) -> None:
    kind = tarfile.PAX_FORMAT if member.pax_headers else tarfile.USTAR_FORMAT
    said = refusal(foreign(tmp_path, member, kind=kind), tmp_path)
    assert "plain file" in said
    # Control: the same member as a plain file of ours is read.
    path = tmp_path / "good"
    path.write_bytes(header("a", 0) + END)
    assert list(open_tar(path).members) == ["a"]


def test_a_gnu_long_name_is_refused(tmp_path: Path) -> None:
    assert "plain file" in refusal(foreign(tmp_path, info("x" * 150), kind=tarfile.GNU_FORMAT), tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data + b"\0", "two zero blocks and the end were expected"),
        (lambda data: data + bytes(BLOCK), "two zero blocks and the end were expected"),
        (lambda data: data + b"trailing", "two zero blocks and the end were expected"),
        (lambda data: data[:-BLOCK], "two zero blocks and the end were expected"),
        (lambda data: data[:-1], "two zero blocks and the end were expected"),
        (lambda data: data[: -2 * BLOCK], "without its two zero blocks"),
        (lambda data: data[:100], "the file ends at byte 100"),
        (lambda data: b"", "the file ends at byte 0"),
        (lambda data: data[: BLOCK + 3], "README: 5 bytes are announced, the file ends after 3"),
        (lambda data: data[: 3 * BLOCK + 9], "tile/0/000: 8192 bytes are announced"),
        (lambda data: data[: BLOCK + 5] + b"x" + data[BLOCK + 6 :], "README: other bytes than zeros after it"),
    ],
)
def test_what_is_cut_or_added_is_refused(change: Callable[[bytes], bytes], said: str, tmp_path: Path) -> None:
    assert said in refusal(change(tar(MEMBERS)), tmp_path)


@pytest.mark.parametrize("size", [b"77777777777\0", b"\x80\0\0\0\0\0\0\0\0\0\0\1", b"00000000 12\0", b"-0000000001\0"])
def test_a_size_of_another_form_is_refused_and_nothing_is_allocated(size: bytes, tmp_path: Path) -> None:
    block = bytearray(header("a", 0))
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    refusal(bytes(block) + END, tmp_path)


def test_more_members_than_a_log_can_have_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.audit"
    path.write_bytes(tar(MEMBERS))
    assert len(open_tar(path, most=3).members) == 3
    with pytest.raises(RefusedError, match=r"tile/entries/000: more than 2 members"):
        open_tar(path, most=2)


def test_a_changed_bit_of_a_header_or_of_the_zeros_is_refused(tmp_path: Path) -> None:
    name, data = MEMBERS[0]
    good = tar([(name, data)])
    path = tmp_path / "x"
    for offset in range(0, len(good), 1 if SCALE > 1 else 7):
        if BLOCK <= offset < BLOCK + len(data):
            continue
        for bit in range(8) if SCALE > 1 else [offset % 8]:
            path.write_bytes(good[:offset] + bytes([good[offset] ^ 1 << bit]) + good[offset + 1 :])
            with pytest.raises(RefusedError):
                open_tar(path)


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(tar(MEMBERS))
    opened = open_tar(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RefusedError, match="the file has changed"):
        opened.read("tile/0/000")
    with pytest.raises(RefusedError, match="the file has changed"):
        list(opened.contents())
