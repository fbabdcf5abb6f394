"""Functions on nestings: the results of Keras, and errors where Keras has them."""

import inspect
from collections import OrderedDict, defaultdict, deque
from types import MappingProxyType
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

import lamina


class Point(NamedTuple):
    a: Any
    b: Any


class Other(NamedTuple):
    a: Any
    b: Any


class OwnDict(dict):
    pass


def default(**items):
    return defaultdict(int, items)


STRUCTURES = {
    "dict": {"b": 1, "a": [2, 3]},
    "OrderedDict": OrderedDict([("b", 1), ("a", [2])]),
    "defaultdict": default(b=1, a=2),
    "namedtuple": Point([1], (2, 3)),
    "deque": deque([1, [2]], maxlen=3),
    "None": None,
    "None inside": [None, 1],
    "a leaf": 3,
    "text": "abc",
    "a set": {1},
    "a dict of the user's": OwnDict(b=1),
    "another mapping": MappingProxyType({"b": 1}),
    "empty": [[], {}, ()],
    "keys of many types": {1: 2, "a": 3, None: 4, 2.0: 5},
    "deep": {"z": [{"y": (1, {"x": None})}, 2], "a": ()},
}
PAIRS = [
    ([1, 2], [3, 4]),
    ([1, 2], (3, 4)),
    ([1], [1, 2]),
    ({"a": 1}, {"b": 1}),
    ({"b": 1, "a": 2}, OrderedDict([("b", 3), ("a", 4)])),
    ({"b": 1, "a": 2}, {"a": 3, "b": 4}),
    (default(b=1, a=2), {"a": 1, "b": 2}),
    ([1, [2]], [1, 2]),
    (1, [1]),
    (Point(1, 2), Point(3, 4)),
    (Point(1, 2), (3, 4)),
    (Point(1, 2), Other(3, 4)),
    (None, 1),
    ([None], [None]),
    ([1, None], [2, 3]),
    ([1, {"a": 2}], [1, {"a": [2]}]),
    ([0, 0], [[1, 2], {"a": 3}]),
    ({"b": 0, "a": 0}, {"b": [1], "a": {"c": 2}}),
]
SHAPES = [
    {"b": [1, 2], "a": ((3, None), None)},
    [(1, 2), (3,)],
    (1, None, 3),
    [()],
    ((1, 2), 3),
    [1, 2, "a"],
    ((None,),),
    OrderedDict(b=(1,), a=[3]),
]


def pair(*args):
    return args


def one(call):
    """A function of the library for each structure."""
    return {f"{call[0]}, {name}": (call[1], x) for name, x in STRUCTURES.items()}


CALLS = {
    **one(("is_nested", lambda t, x: t.is_nested(x))),
    **one(("flatten", lambda t, x: t.flatten(x))),
    **one(("flatten_with_path", lambda t, x: t.flatten_with_path(x))),
    **one(("lists_to_tuples", lambda t, x: t.lists_to_tuples(x))),
    **one(("pack", lambda t, x: t.pack_sequence_as(x, list(range(len(t.flatten(x))))))),
    **one(("pack one more", lambda t, x: t.pack_sequence_as(x, [0, *t.flatten(x)]))),
    **one(("map", lambda t, x: t.map_structure(lambda v: (v,), x))),
    **one(("map without None",
           lambda t, x: t.map_structure(lambda v: (v,), x, none_is_leaf=False))),
    **one(("traverse", lambda t, x: t.traverse(
        lambda v: t.MAP_TO_NONE if v == 1 else "new" if v == 2 else None, x))),
    **one(("traverse upwards", lambda t, x: t.traverse(
        lambda v: (*v, "end") if isinstance(v, list) else None, x, top_down=False))),
    **{f"assert_same_structure {p}": (lambda t, p: t.assert_same_structure(*p), p) for p in PAIRS},
    **{f"assert_same_paths {p}": (lambda t, p: t.assert_same_paths(*p), p) for p in PAIRS},
    **{f"map of two {p}": (lambda t, p: t.map_structure(pair, *p), p) for p in PAIRS},
    **{f"map of two without None {p}": (
        lambda t, p: t.map_structure(pair, *p, none_is_leaf=False), p) for p in PAIRS},
    **{f"map up to {p}": (
        lambda t, p: t.map_structure_up_to(p[0], pair, p[1], p[1]), p) for p in PAIRS
        if p[0] is not None and p != ([None], [None]) and p != ([1, None], [2, 3])},
    **{f"shapes {x}": (lambda t, x: t.map_shape_structure(lambda s: ("shape", s), x), x)
       for x in SHAPES},
    "no structure": (lambda t, _: t.map_structure(pair), None),
    "no structure up to": (lambda t, _: t.map_structure_up_to([0], pair), None),
    "no function": (lambda t, _: t.map_structure(3, [1]), None),
    "no function to traverse with": (lambda t, _: t.traverse(3, [1]), None),
    "no leaves": (lambda t, _: t.pack_sequence_as([0], 3), None),
    "an array of leaves": (lambda t, _: t.pack_sequence_as([0, 0], np.array([1, 2])), None),
}  # fmt: skip


@pytest.mark.parametrize(("call", "argument"), CALLS.values(), ids=list(CALLS))
def test_results_and_errors(call, argument):
    try:
        expected = call(keras.tree, argument)
    except (ValueError, TypeError) as e:
        kind = TypeError if isinstance(e, TypeError) else ValueError
        with pytest.raises(kind) as told:
            call(lamina.tree, argument)
        assert isinstance(told.value, lamina.errors.LaminaError)
        return
    found = call(lamina.tree, argument)
    assert type(found) is type(expected)
    assert repr(found) == repr(expected)  # the order of keys, and the types of containers, too


@pytest.mark.parametrize("top_down", [True, False])
def test_the_order_of_a_traversal(top_down):
    def parts(tree):
        seen = []
        tree.traverse(seen.append, {"b": [1, 2], "a": {"d": 3, "c": 4}}, top_down=top_down)
        return seen

    assert parts(lamina.tree) == parts(keras.tree)


def test_names_parameters_and_defaults():
    names = sorted(n for n in vars(keras.tree) if n[0] != "_")
    assert sorted(lamina.tree.__all__) == names
    for name in names:
        ours, theirs = (inspect.signature(getattr(x.tree, name)).parameters.values()
                        for x in (lamina, keras))  # fmt: skip
        assert [(p.name, p.default, p.kind) for p in ours] == [
            (p.name, p.default, p.kind) for p in theirs
        ]


def test_lists_and_tuples_are_alike_where_types_do_not_count():
    lamina.tree.assert_same_structure([1, (2,)], (1, [2]), check_types=False)
    with pytest.raises(lamina.errors.StructureError, match="entries"):
        lamina.tree.assert_same_structure([1], (1, 2), check_types=False)
