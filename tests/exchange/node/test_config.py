"""Settings: one file, every key known, every complaint with file and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from exchange.node.config import CONFIG_FILE, ConfigError, NodeConfig, format_config, load_config
from keys.identity import AgencyId


def _write(home: Path, text: str) -> Path:
    (home / CONFIG_FILE).write_text(text)
    return home


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    config = NodeConfig(
        agency=AgencyId("HK-IMMD"),
        listen="[::]:1",
        desk="127.0.0.1:2",
        admin="127.0.0.1:3",
        tsa="http://tsa.example/stamp",
        tsa_ca="tsa.pem",
        tsa_minutes=5,
        desk_classical_tls=True,
        peers={"HK-SB": "a.b:4"},
        witnesses={"oversight.example/witness": "http://127.0.0.1:7445", "b.example/w": "https://[::1]/prefix"},
    )
    assert load_config(_write(tmp_path, format_config(config))) == config


def test_agency_alone_is_enough(tmp_path: Path) -> None:
    assert load_config(_write(tmp_path, 'agency = "HK-IMMD"\n')).desk == "127.0.0.1:7444"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('agency = "HK-IMMD"\nlistn = "a:1"', "there is no key 'listn'", "did you mean listen?"),
        ('agency = "HK-IMMD"\nzzz = 1', "there is no key 'zzz'", "known keys: "),
        ('agency = "HK-IMMD"\ntsa = "tsa.example"\ntsa_ca = "x"', "tsa is 'tsa.example'", "http://host/path"),
        ('agency = "HK-IMMD"\ntsa = "ftp://a/"\ntsa_ca = "x"', "tsa is 'ftp://a/'", "http://host/path"),
        ('agency = "HK-IMMD"\ntsa = "http://me:pw@a/"\ntsa_ca = "x"', "tsa is ", "http://host/path"),
        ('agency = "HK-IMMD"\ntsa = "http://a/"', "tsa and tsa_ca stand together", "tsa.pem"),
        ('agency = "HK-IMMD"\ntsa_ca = "x"', "tsa and tsa_ca stand together", "tsa.pem"),
        ('agency = "HK-IMMD"\ntsa_minutes = "5"', "tsa_minutes is '5'", "1 to 10080"),
        ('agency = "HK-IMMD"\ndesk_classical_tls = "true"', "desk_classical_tls is 'true'", "true or false"),
        ('agency = "HK-IMMD"\ntsa_minutes = 0', "tsa_minutes is '0'", "1 to 10080"),
        ('listen = "a:1"', "agency is missing", "HK-IMMD"),
        ('agency = "nobody"', "agency: 'nobody' is not an agency's code", "HK-IMMD"),
        ('agency = "HK-IMMD"\nlisten = "here"', "listen is 'here'", "host:port"),
        ('agency = "HK-IMMD"\nlisten = "a:70000"', "listen is 'a:70000'", "host:port"),
        ('agency = "HK-IMMD"\ndesk = 7444', "desk is no text", "double quotes"),
        ('agency = "HK-IMMD"\nadmin = "0.0.0.0:1"', "admin is '0.0.0.0:1'", "127.0.0.1"),
        ('agency = "HK-IMMD"\npeers = 1', "peers is no table", "[peers]"),
        ('agency = "HK-IMMD"\n[peers]\nHK-SB = "x"', "peers.HK-SB is 'x'", "host:port"),
        ('agency = "HK-IMMD"\nwitnesses = 1', "witnesses is no table", "[witnesses]"),
        ('agency = "HK-IMMD"\n[witnesses]\nHK-SB = "http://a"', "'witnesses.HK-SB' names no witness", "oversight"),
        ('agency = "HK-IMMD"\n[witnesses]\n"a.b/w" = "a:1"', "'witnesses.a.b/w' is 'a:1'", "http://"),
        ('agency = "HK-IMMD"\n[witnesses]\n"a.b/w" = 1', "'witnesses.a.b/w' is no text", "double quotes"),
        ("agency = ", "Invalid value", ""),
    ],
)
def test_a_wrong_file_says_which_key_and_what_would_be_right(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(_write(tmp_path, text))
    assert str(caught.value).startswith(f"{tmp_path / CONFIG_FILE}: ")
    assert message in str(caught.value)
    assert hint in caught.value.hint
