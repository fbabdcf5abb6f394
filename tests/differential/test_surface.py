"""Keras's public names, members and parameters are here, but for recorded gaps, which shrink.

`make docs` (`python -m tools`) takes closed gaps out of the record and writes the page.
"""

import keras
import pytest

from lamina.alias import tables
from tools import compatibility, surface
from tools.__main__ import PAGE


@pytest.fixture(scope="module")
def found():
    return surface.gaps()


def test_nothing_is_missing_that_is_not_recorded(found):
    assert surface.compare(found, surface.recorded())[0] == []


def test_closed_gaps_are_taken_out_of_the_record(found):
    assert surface.compare(found, surface.recorded())[1] == [], "run `make docs`"


def test_the_record_is_written_as_the_script_writes_it(found):
    assert surface.RECORD.read_text() == surface.written(found), "run `make docs`"


def test_the_page_is_current(found):
    assert PAGE.read_text() == compatibility.page(found), "run `make docs`"


def test_the_version_is_that_of_the_oracle():
    assert tables.KERAS_VERSION.split(".")[:2] == keras.__version__.split(".")[:2]


def there(a, b=1, *, c=2):
    pass


@pytest.mark.parametrize(
    ("mine", "said"),
    [
        (lambda a, b=1, *, c=2: 0, []),
        (lambda a, b=1, c=2, d=3: 0, []),
        (lambda a=0, b=1.0, c=(2, 2): 0, []),
        (lambda a, b=1: 0, ["no `c`"]),
        (lambda a, b=3, *, c=2: 0, ["`b=3`, not 1"]),
        (lambda a, b, *, c=2: 0, ["`b` has no default"]),
        (lambda b=1, a=0, *, c=2: 0, ["order: `b`, `a`"]),
        (lambda a, *, b=1, c=2: 0, ["by name only: `b`"]),
        (lambda a, d=1, b=1, *, c=2: 0, ["`d` comes before `b`"]),
        (lambda *args, **kwargs: 0, []),
    ],
)
def test_differences_of_parameters(mine, said):
    assert surface.differences(there, mine) == said


def test_members_of_classes():
    class There:
        def same(self): ...

        def gone(self): ...

        def other(self, a): ...

    class Here:
        def same(self): ...

        def other(self): ...

    assert surface.member_gaps("C", There, Here) == {"C.gone": [], "C.other": ["no `a`"]}


def test_members_of_bases_that_are_not_public():
    assert {"enable_lora", "convolution_op"} <= {
        n for n, _ in surface._members(keras.layers.Conv2D)
    }
    assert "build" not in {n for n, _ in surface._members(keras.optimizers.Adam)}  # an Optimizer's


def test_which_changes_are_worse():
    known = {"m": {"absent": [], "differs": ["a", "b"], "closed": []}}
    found = {"m": {"absent": ["a"], "differs": ["a", "c", "d"], "new": []}}
    known["m"] |= {"C": []}
    found["m"] |= {"C.member": []}  # of a class that was absent, all is
    worse, better = surface.compare(found, known)
    assert [line.partition(":")[0] for line in worse] == ["m.differs", "m.new"]
    assert [line.partition(":")[0] for line in better] == [
        "m.C", "m.C.member", "m.absent", "m.closed",
    ]  # fmt: skip
