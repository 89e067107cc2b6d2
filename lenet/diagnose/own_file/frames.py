"""The messages that the process of a user's file sends to the judge, through a pipe.

A message is a letter, its length in 8 bytes, and that many bytes: JSON for an event, safetensors for an
answer. Nothing is pickled. The user's code runs in the process that sends, so whatever arrives is checked.
"""

import json
import os
import struct
from typing import IO, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from lenet.diagnose.own_file.interface import DTYPES, FUNCTIONS
from lenet.network.architecture import ACTIVATION_SHAPES, PARAM_SHAPES
from lenet.ports import Arrays

HEAD = struct.Struct(">cQ")
EVENT = b"e"
LETTERS = {name[0].encode(): name for name in FUNCTIONS}  # of an answer → the function's name
LONGEST_EVENT, LONGEST_ANSWER = 2**20, 2**28  # bytes; a right answer has less than four million
MOST_BYTES, MOST_FRAMES = 2**29, 10_000  # of a whole run
NAMES = {
    "activations": {*ACTIVATION_SHAPES},
    "gradients": {*PARAM_SHAPES, "loss"},
    "train": {*PARAM_SHAPES},
}


class Unreadable(Exception):
    """What arrived is no message of ours: the user's code wrote into the pipe, or too much was sent."""


def send(descriptor: int, letter: bytes, content: bytes) -> None:
    """Write a message to a pipe."""
    rest = memoryview(HEAD.pack(letter, len(content)) + content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


class Received:
    """The messages that have arrived so far.

    Attributes:
        events: {kind: values}.
        answers: {function: its answers, in order}.
        frames: the number of messages.
        broken: why no more can be read; None while all is well.
    """

    def __init__(self) -> None:
        self.events: dict[str, list[Any]] = {}
        self.answers: dict[str, list[Arrays]] = {name: [] for name in FUNCTIONS}
        self.frames = 0
        self.broken: str | None = None
        self._bytes = 0

    @property
    def count(self) -> int:
        """The number of answers."""
        return sum(map(len, self.answers.values()))

    def listen(self, pipe: IO[bytes]) -> None:
        """Read messages until the pipe's other end is closed. Ends early, with `broken`, at a bad one."""
        try:
            while head := pipe.read(HEAD.size):
                self._take(head, pipe)
        except (Unreadable, SafetensorError, ValueError, TypeError, RecursionError) as error:
            self.broken = str(error) if isinstance(error, Unreadable) else "it is no message of ours"

    def _take(self, head: bytes, pipe: IO[bytes]) -> None:
        if len(head) < HEAD.size:
            return  # the process ended within a message
        letter, length = HEAD.unpack(head)
        self.frames, self._bytes = self.frames + 1, self._bytes + length
        if letter != EVENT and letter not in LETTERS:
            raise Unreadable("it is no message of ours")
        longest = LONGEST_EVENT if letter == EVENT else LONGEST_ANSWER
        if length > longest or self._bytes > MOST_BYTES or self.frames > MOST_FRAMES:
            raise Unreadable("it is too much")
        content = pipe.read(length)
        if len(content) < length:
            return
        if letter == EVENT:
            for kind, value in checked_event(json.loads(content)).items():
                self.events.setdefault(kind, []).append(value)
        else:
            name = LETTERS[letter]
            self.answers[name].append(checked_answer(name, load(content)))


def checked_event(event: Any) -> dict[str, Any]:
    """The event, if its kinds and types are ours.

    Raises:
        Unreadable: they are not.
    """
    kinds: dict[str, Any] = {
        "phase": lambda value: value in ("import", *FUNCTIONS),
        "offered": lambda value: isinstance(value, list) and set(value) <= FUNCTIONS.keys(),
        "dtype": lambda value: value in DTYPES,
        "note": lambda value: isinstance(value, str),
        "misused": lambda value: isinstance(value, str),
        "failure": lambda value: isinstance(value, list) and all(isinstance(line, str) for line in value),
        "done": lambda value: value is True,
    }
    if not isinstance(event, dict) or not all(k in kinds and kinds[k](v) for k, v in event.items()):
        raise Unreadable("it is no message of ours")
    return event


def checked_answer(name: str, arrays: Arrays) -> Arrays:
    """The arrays, if their names and types are such as `OwnPort` returns.

    Raises:
        Unreadable: they are not.
    """
    if not set(arrays) <= NAMES[name] or any(array.dtype.kind not in "fiub" for array in arrays.values()):
        raise Unreadable("it is no message of ours")
    if "loss" in arrays and np.size(arrays["loss"]) != 1:
        raise Unreadable("it is no message of ours")
    return arrays
