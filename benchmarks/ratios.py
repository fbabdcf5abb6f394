"""Paired ratios: comparison of two contestants by their values in the same rounds."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Sequence

FEWEST = 3  # rounds; with fewer there are no meaningful quartiles
MARGIN = 0.02  # smaller differences of the median from 1 are ignored


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The ratio by which the first is better than the second.

    Attributes:
        median: Median of the ratios; above 1 the first is better.
        low: Lower quartile of the ratios.
        high: Upper quartile of the ratios.
        rounds: Number of rounds that both have.
    """

    median: float
    low: float
    high: float
    rounds: int

    @property
    def verdict(self) -> str:
        """``"ahead"``, ``"behind"`` or ``"equal"``.

        Equal: the quartiles do not exclude 1, or the median differs from 1 by less than 2 %. (With
            few rounds, the quartiles of two identical contestants sometimes exclude 1.)
        ``"too few"`` if there are too few rounds.
        """
        if self.rounds < FEWEST:
            return "too few"
        if self.low <= 1 <= self.high or abs(self.median - 1) < MARGIN:
            return "equal"
        return "ahead" if self.median > 1 else "behind"


def compare(first: Sequence[float], second: Sequence[float], more: bool) -> Comparison | None:
    """Compare values that were measured in the same rounds.

    Args:
        first: Values of the first, by round.
        second: Values of the second, by round; rounds that only one of them has are ignored.
        more: Whether a larger value is better.

    Returns:
        The comparison, or None if no round has positive values of both.
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
    """The number of comparisons with each verdict: ``"ahead 3, equal 1, behind 2"``."""
    verdicts = [c.verdict for c in comparisons]
    kinds = ["ahead", "equal", "behind", *(["too few"] if "too few" in verdicts else [])]
    return ", ".join(f"{kind} {verdicts.count(kind)}" for kind in kinds)
