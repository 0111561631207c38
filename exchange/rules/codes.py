"""Codes kept by others: countries, languages, telephone numbers, accounts.

Only codes and check digits are used; no library's names of places reach a bulletin or a screen.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

# ICAO Doc 9303, part 3, section 5: what stands in travel documents beside ISO 3166-1 alpha-3.
ICAO_EXTRAS = frozenset(
    (
        *("D", "EUE", "GBD", "GBN", "GBO", "GBP", "GBS", "IAO", "RKS", "UNA", "UNK", "UNO", "UTO", "XBA", "XCC"),
        *("XCE", "XCO", "XDC", "XEC", "XES", "XIM", "XMP", "XOM", "XPO", "XXA", "XXB", "XXC", "XXX"),
    )
)
SPECIMEN = "UTO"  # Utopia, the issuer of ICAO's specimen

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_DIALLED = re.compile(r"[0-9*#][0-9*# -]{1,19}")
_EVM = re.compile(r"0x[0-9a-fA-F]{40}")
_TRON = re.compile(r"T[1-9A-HJ-NP-Za-km-z]{33}")
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32M = 0x2BC830A3  # BIP 350: the constant of witness version 1 and later


@cache
def countries() -> frozenset[str]:
    """ISO 3166-1 alpha-2."""
    import pycountry  # late, like all registries here: a command that judges nothing does not pay for them

    return frozenset(country.alpha_2 for country in pycountry.countries)


@cache
def travel_countries() -> frozenset[str]:
    """ISO 3166-1 alpha-3 and ICAO's extras."""
    import pycountry

    return frozenset(country.alpha_3 for country in pycountry.countries) | ICAO_EXTRAS


@cache
def subdivisions() -> frozenset[str]:
    """ISO 3166-2."""
    import pycountry

    return frozenset(subdivision.code for subdivision in pycountry.subdivisions)


@lru_cache(maxsize=1024)
def is_language(tag: str) -> bool:
    """Return whether *tag* is BCP 47; langcodes would also take underscores."""
    import langcodes

    return "_" not in tag and tag.isascii() and bool(langcodes.tag_is_valid(tag))


@lru_cache(maxsize=1024)
def is_phone(number: str) -> bool:
    """Return whether *number* has E.164 form and a possible length; whether it is in use nobody can know."""
    import phonenumbers

    if not _E164.fullmatch(number):
        return False
    try:
        return bool(phonenumbers.is_possible_number(phonenumbers.parse(number)))
    except phonenumbers.NumberParseException:
        return False


def is_dialled(number: str) -> bool:
    """Return whether *number* is what one dials for a hotline, as 1868 or 999."""
    return _DIALLED.fullmatch(number) is not None


def is_iban(value: str) -> bool:
    from stdnum import iban

    return bool(iban.is_valid(value))


def is_bitcoin(value: str) -> bool:
    """Check an address: base58, bech32, and bech32m, which stdnum lacks."""
    from stdnum import bitcoin

    return bool(bitcoin.is_valid(value)) or _is_taproot(value)


def is_evm(value: str) -> bool:
    """Check the shape only; the mixed-case checksum is optional in the field."""
    return _EVM.fullmatch(value) is not None


def is_tron(value: str) -> bool:
    return _TRON.fullmatch(value) is not None


def _is_taproot(value: str) -> bool:
    """Check a bech32m address of witness version 1. Source: BIP 350."""
    text = value.lower()
    if (text != value and value.upper() != value) or not re.fullmatch(r"bc1p[a-z0-9]{58}", text):
        return False
    if not set(text[3:]) <= set(_BECH32):
        return False
    check = 1
    for item in [3, 3, 0, 2, 3, *(_BECH32.index(char) for char in text[3:])]:  # "bc", spread out
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ item
        for bit, mask in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= mask if top >> bit & 1 else 0
    return check == _BECH32M
