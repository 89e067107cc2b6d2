"""Damages a file's bytes in the ways that find faults in readers."""

import json
import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any

# What a count, a size, an offset or a name is replaced by.
WHOLE = (0, 1, -1, 127, 255, 256, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1)
BYTES = (
    b"",
    b"\0",
    b"\xff" * 8,
    b"\x1b[31m",
    b"\r\n",
    b"\xed\xa0\x80",
    b"{" * 2000,
    b"[" * 100_000,
    b"9" * 5000,
)
VALUES: tuple[Any, ...] = (
    *(None, True, "", "\0", "\x1b[31m", "\ud800", "$x^{_$", "x" * 10_000, [], {}, [[]], "NaN"),
    *(0, -1, 2**31, 2**63, 10**400, 1e308, 1e-320, -0.0, float("nan"), float("inf")),
)


def damaged(content: bytes, chance: random.Random) -> bytes:
    """The bytes with one to four of the damages of `WAYS`."""
    for _ in range(chance.randint(1, 4)):
        content = chance.choice(WAYS)(content, chance)
    return content


def damaged_json(content: bytes, chance: random.Random) -> bytes:
    """JSON in which one or two values, at any depth, are others; sometimes its bytes are damaged."""
    found = json.loads(content)
    for _ in range(chance.randint(1, 2)):
        found = _replaced(found, chance)
    text = json.dumps(found).encode()
    return damaged(text, chance) if chance.random() < 0.3 else text


def _replaced(value: Any, chance: random.Random) -> Any:
    """The value with another in the place of one of its parts."""
    if not isinstance(value, list | dict) or not value or chance.random() < 0.2:
        return deepcopy(chance.choice(VALUES))
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = chance.choice(keys)
    way = chance.random()
    if way < 0.1:
        del value[key]
    elif way < 0.2 and isinstance(value, dict):
        value[str(chance.choice(VALUES))[:10_000]] = value.pop(key)
    else:
        value[key] = _replaced(value[key], chance)
    return value


def _place(content: bytes, chance: random.Random) -> int:
    """A place in the bytes; half of them in the first 500, where the headers are."""
    return chance.randint(0, min(len(content), 500 if chance.random() < 0.5 else len(content)))


def _flip(content: bytes, chance: random.Random) -> bytes:
    if not content:
        return content
    place = min(_place(content, chance), len(content) - 1)
    return content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]


def _number(content: bytes, chance: random.Random) -> bytes:
    size, order = chance.choice((1, 2, 4, 8)), chance.choice(("little", "big"))
    number = chance.choice(WHOLE) % 2 ** (8 * size)
    place = _place(content, chance)
    return content[:place] + number.to_bytes(size, order) + content[place + size :]


def _varint(content: bytes, chance: random.Random) -> bytes:
    """Protobuf's numbers: seven bits a byte."""
    number, coded = chance.choice(WHOLE) % 2**64, b""
    while number > 127:
        coded, number = coded + bytes([number % 128 + 128]), number >> 7
    place = _place(content, chance)
    return content[:place] + coded + bytes([number]) + content[place + 1 :]


def _digits(content: bytes, chance: random.Random) -> bytes:
    """Another number in the place of one that is written in digits."""
    places = [i for i in range(min(len(content), 2000)) if content[i : i + 1].isdigit()]
    if not places:
        return content
    place = chance.choice(places)
    return content[:place] + str(chance.choice(WHOLE)).encode() + content[place + 1 :]


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: _place(content, chance)]


def _insert(content: bytes, chance: random.Random) -> bytes:
    place = _place(content, chance)
    return content[:place] + chance.choice(BYTES) + content[place:]


def _remove(content: bytes, chance: random.Random) -> bytes:
    place = _place(content, chance)
    return content[:place] + content[place + chance.choice((1, 2, 4, 8, 100)) :]


def _repeat(content: bytes, chance: random.Random) -> bytes:
    place, length = _place(content, chance), chance.choice((1, 8, 100, 2000))
    return content[: place + length] + content[place:]


def _noise(content: bytes, chance: random.Random) -> bytes:
    place = _place(content, chance)
    length = chance.choice((1, 4, 16, 64))
    return content[:place] + chance.randbytes(length) + content[place + length :]


WAYS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_flip, _flip, _number, _varint, _digits, _cut, _insert, _remove, _repeat, _noise),
)
