"""Paired ratios: what two contestants' values in the same rounds say about them."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Sequence

FEWEST = 3  # rounds; with fewer there are no quartiles to speak of
MARGIN = 0.02  # of the median: a smaller difference is none, however narrow the quartiles are


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How many times better the first is than the second.

    Attributes:
        median: Of the rounds' ratios; above 1 the first is better.
        low: Their lower quartile.
        high: Their upper quartile.
        rounds: How many rounds both have.
    """

    median: float
    low: float
    high: float
    rounds: int

    @property
    def verdict(self) -> str:
        """``"ahead"``, ``"behind"`` or ``"equal"``.

        Equal: the quartiles do not exclude 1, or the median differs from 1 by less than 2 %. (Of
        two contestants that are the same, the quartiles of few rounds exclude 1 now and then.)
        ``"too few"`` when the rounds are too few to tell.
        """
        if self.rounds < FEWEST:
            return "too few"
        if self.low <= 1 <= self.high or abs(self.median - 1) < MARGIN:
            return "equal"
        return "ahead" if self.median > 1 else "behind"


def compare(first: Sequence[float], second: Sequence[float], more: bool) -> Comparison | None:
    """Compare values that were measured in the same rounds.

    Args:
        first: Values of the one, round by round.
        second: Values of the other, in the same rounds; what only one of them has is left out.
        more: Whether a larger value is better.

    Returns:
        None when no round has positive values of both.
    """
    ratios = [
        a / b if more else b / a for a, b in zip(first, second, strict=False) if a > 0 and b > 0
    ]
    if not ratios:
        return None
    low, high = quartiles(ratios)
    return Comparison(statistics.median(ratios), low, high, len(ratios))


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The lower and the upper quartile, interpolated between the values."""
    if len(values) == 1:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def tally(comparisons: Iterable[Comparison]) -> str:
    """How often each verdict was given, wins and losses alike: ``"ahead 3, equal 1, behind 2"``."""
    verdicts = [c.verdict for c in comparisons]
    kinds = ["ahead", "equal", "behind", *(["too few"] if "too few" in verdicts else [])]
    return ", ".join(f"{kind} {verdicts.count(kind)}" for kind in kinds)
