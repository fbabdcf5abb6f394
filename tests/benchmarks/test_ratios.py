"""When a figure is a win, a loss, or neither."""

import pytest

from benchmarks.ratios import Comparison, compare, quartiles, tally
from benchmarks.worker import fixed_cost


def test_the_ratios_are_taken_within_the_rounds():
    # The load of the second round halves both; the ratio is 2 in each.
    found = compare([100, 50, 100], [50, 25, 50], more=True)
    assert found == Comparison(2, 2, 2, 3)


def test_where_less_is_better_the_ratio_is_turned_around():
    assert compare([1.0, 1.0], [3.0, 5.0], more=False) == Comparison(4, 3.5, 4.5, 2)


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ([2, 2, 2], [1, 1, 1], "ahead"),
        ([1, 1, 1], [2, 2, 2], "behind"),
        ([2, 1, 2, 1], [1, 2, 1, 2], "equal"),
        # The median is a clear win; the lower quartile is not.
        ([2, 2, 2, 0.5, 0.5], [1, 1, 1, 1, 1], "equal"),
        ([2, 2, 2, 2, 0.5], [1, 1, 1, 1, 1], "ahead"),
        ([0.5, 0.5, 0.5, 0.5, 2], [1, 1, 1, 1, 1], "behind"),
        # Narrow, but less than 2 %
        ([1.01, 1.011, 1.012], [1, 1, 1], "equal"),
        ([0.99, 0.991, 0.992], [1, 1, 1], "equal"),
        ([1.03, 1.031, 1.032], [1, 1, 1], "ahead"),
        ([9, 9], [1, 1], "too few"),
    ],
)
def test_verdicts(ours, theirs, verdict):
    found = compare(ours, theirs, more=True)
    assert found is not None
    assert found.verdict == verdict


def test_a_win_for_one_is_a_loss_of_the_same_size_for_the_other():
    one, other = [3.0, 3.3, 2.9, 3.1], [2.0, 2.1, 2.2, 1.9]
    ahead, behind = compare(one, other, more=True), compare(other, one, more=True)
    assert ahead is not None
    assert behind is not None
    assert (ahead.verdict, behind.verdict) == ("ahead", "behind")


def test_what_only_one_of_them_has_is_left_out():
    found = compare([4, 4, 4, 1000], [2, 2, 2], more=True)
    assert found is not None
    assert found.rounds == 3
    assert compare([], [1, 2], more=True) is None
    assert compare([-1, 0], [1, 2], more=True) is None


def test_quartiles():
    assert quartiles([5]) == (5, 5)
    assert quartiles([1, 2, 3, 4, 5]) == (2, 4)


def test_the_tally_counts_losses_as_it_counts_wins():
    kinds = {"ahead": 2.0, "behind": 0.5, "equal": 1.0}
    comparisons = [Comparison(kinds[k], kinds[k], kinds[k], 5) for k in ("ahead", "behind")]
    comparisons.append(Comparison(1.0, 0.9, 1.1, 5))
    assert tally(comparisons) == "ahead 1, equal 1, behind 1"
    assert tally([Comparison(2, 2, 2, 1)]) == "ahead 0, equal 0, behind 0, too few 1"


def test_the_fixed_cost_is_what_the_steps_do_not_explain():
    fixed, step = 7.0, 0.5
    assert fixed_cost(fixed + step, fixed + 50 * step, 50) == pytest.approx(fixed)
