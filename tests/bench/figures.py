"""Collect the figures of a bench run, and set each beside its mark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured value.

    Args:
        at_least, at_most: outside of these the run fails. None: no such bound.
        aim: what we aim for beyond that. None: nothing more.
        warn_only: outside the bounds is a warning, for it says something of the machine.
    """

    name: str
    value: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    aim: float | None = None
    warn_only: bool = False

    @property
    def holds(self) -> bool:
        return not (
            (self.at_least is not None and self.value < self.at_least)
            or (self.at_most is not None and self.value > self.at_most)
        )

    @property
    def verdict(self) -> str:
        if self.holds:
            return "ok"
        return "warning" if self.warn_only else "FAILED"

    @property
    def mark(self) -> str:
        marks = [
            f"{words} {value:g}"
            for words, value in (("at least", self.at_least), ("at most", self.at_most))
            if value is not None
        ]
        if self.aim is not None:
            marks.append(f"aim {self.aim:g}")
        return ", ".join(marks)


class Figures:
    """What a run has measured. `show` writes a line to the terminal at once."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self.show = show
        self.all: list[Figure] = []

    def add(self, figure: Figure) -> None:
        """Keep it for the table, and fail the test when it is outside its bounds."""
        self.all.append(figure)
        if not figure.holds and not figure.warn_only:
            raise AssertionError(f"{figure.name}: {figure.value:.4g} {figure.unit} ({figure.mark})")


def table(figures: list[Figure]) -> list[str]:
    """One line for each figure: name, value, mark, verdict."""
    width = max(len(figure.name) for figure in figures)
    return [
        f"{figure.name:{width}}  {figure.value:>10.4g} {figure.unit:8} {figure.mark:28} "
        f"{figure.verdict}".rstrip()
        for figure in figures
    ]
