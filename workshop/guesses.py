"""Predictions: the participant guesses first, then sees the result and its explanation.

    predict = guesses.of("01_convolution")
    predict.guess("entries", None)             # the participant writes a number in place of None
    predict.guess("equal", None, "yes", "no")  # or one of these words
    predict.reveal(entries=np.count_nonzero(M), equal=guesses.yes((x == y).all()))

The explanations are in the notebook's solution, ANSWERS = {name: (the right guess, explanation)}, so that
they cannot be read below the question. The right guess there is for the tests; `reveal` compares with what
the notebook has just computed.
"""

import importlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any


class NotAGuess(TypeError):
    """The guess has the wrong form; the text says what to write, in one line."""

    def _render_traceback_(self) -> list[str]:
        """The text that Jupyter shows instead of a traceback through this module."""
        return [f"not a guess: {self}"]


@dataclass(frozen=True)
class Form:
    """What a guess may be: a number, or words.

    Attributes:
        options: the words to choose from; none if the guess is a number.
        several: whether the guess is a list of any of the words.
        within: a number is right up to this factor, which is at least 1.
    """

    options: tuple[str, ...] = ()
    several: bool = False
    within: float = 1.0

    def __str__(self) -> str:
        if self.options:
            words = ", ".join(map(repr, self.options))
            return f"a list of any of {words}" if self.several else f"one of {words}"
        return "a number" if self.within == 1 else f"a number, right up to a factor of {self.within:g}"

    def read(self, value: Any) -> Any:
        """The guess as a float, a word or a frozenset of words.

        Raises:
            NotAGuess: the value is nothing of this form.
        """
        if not self.options:
            if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value):
                return float(value)
        elif not self.several:
            if isinstance(value, str) and value in self.options:
                return value
        elif (
            isinstance(value, Collection)
            and not isinstance(value, str | Mapping)
            and all(isinstance(one, str) and one in self.options for one in value)
        ):
            return frozenset(value)
        raise NotAGuess(f"{value!r}; write {self}")

    def agree(self, guess: Any, result: Any) -> bool:
        """Whether two values that `read` returned are the same, or as near as `within` allows."""
        if self.options or self.within == 1 or guess * result <= 0:
            return bool(guess == result)
        return bool(max(guess / result, result / guess) <= self.within)

    def shown(self, value: Any) -> str:
        """A value that `read` returned, for a sentence."""
        if self.several:
            return ", ".join(word for word in self.options if word in value) or "none of them"
        return value if self.options else f"{value:,.6g}" if abs(value) >= 1 else f"{value:.3g}"


@dataclass(frozen=True)
class Revealed:
    """A text that Jupyter shows as Markdown."""

    text: str

    def _repr_markdown_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text


@dataclass
class Guesses:
    """The guesses of one participant in one notebook.

    Attributes:
        answers: {name: (the right guess, explanation)}.
        forms: {name: the form of a guess}, of the guess cells that were run.
        made: {name: guess}, of the guesses that were made.
    """

    answers: Mapping[str, tuple[Any, str]]
    forms: dict[str, Form] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)

    def guess(self, name: str, value: Any, *options: str, several: bool = False, within: float = 1.0) -> None:
        """Note a guess; None is no guess yet.

        Args:
            name: the name under which `reveal` finds it.
            value: a number; with options, one of them, or if `several` a list of them.
            options: the words to choose from.
            within: a number counts as right up to this factor.

        Raises:
            NotAGuess: the value has another form.
            LookupError: the notebook's solution has no answer of this name.
        """
        if name not in self.answers:
            raise LookupError(f"no answer is called {name!r}")
        form = self.forms[name] = Form(options, several, within)
        self.made.pop(name, None)
        if value is None:
            print(f"{name}: write your guess in place of None ({form})")
            return
        self.made[name] = form.read(value)
        print(f"{name}: you guess {form.shown(self.made[name])}")

    def reveal(self, **results: Any) -> Revealed:
        """Compare the guesses with the computed results, and explain; without a guess, ask for it.

        Args:
            results: {name: result}, in the form of the guess.
        """
        told = [self._compared(name, result) for name, result in results.items() if name in self.made]
        if missing := [name for name in results if name not in self.made]:
            told.append(
                f"*Guess first: {', '.join(missing)}.* Write it in the cell above and run both again."
            )
        return Revealed("\n\n".join(told))

    def _compared(self, name: str, result: Any) -> str:
        form, guess = self.forms[name], self.made[name]
        found = form.read(result)
        said = "right" if form.agree(guess, found) else f"not what you guessed, {form.shown(guess)}"
        return f"**{name}: {form.shown(found)}**, {said}. {self.answers[name][1]}".rstrip()


def of(notebook: str) -> Guesses:
    """No guesses yet, for a notebook named as its file: "01_convolution"."""
    return Guesses(importlib.import_module(f"workshop.solutions.{notebook}").ANSWERS)


def yes(fact: Any) -> str:
    """ "yes" or "no"."""
    return "yes" if fact else "no"
