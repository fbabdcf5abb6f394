"""Attributes and containers are tracked in Keras's order, whatever the order of their changes."""

import random

import keras as oracle
import pytest

import lamina


def order(library, seed):
    """The names of the layers of a model that random assignments and additions have filled."""
    choose = random.Random(seed)
    made = 0

    def layer():
        nonlocal made
        made += 1
        return library.layers.Dense(1, name=f"made_{made}")

    model = library.Model(name="model")
    lists, dicts, attributes = ["list_0"], ["dict_0"], []
    model.list_0, model.dict_0 = [], {}
    for i in range(1, choose.randint(6, 14)):
        what = choose.choice(
            ["attribute", "attribute", "list", "dict", "append", "append", "put",
             "extend", "nest", "again", "earlier"]
        )  # fmt: skip
        if what == "attribute":
            attributes.append(f"layer_{i}")
            setattr(model, attributes[-1], layer())
        elif what == "list":
            lists.append(f"list_{i}")
            setattr(model, lists[-1], [layer() for _ in range(choose.randint(0, 2))])
        elif what == "dict":
            dicts.append(f"dict_{i}")
            setattr(model, dicts[-1], {"b": layer(), "a": layer()})
        elif what == "append":
            getattr(model, choose.choice(lists)).append(layer())
        elif what == "put":
            getattr(model, choose.choice(dicts))[f"key_{choose.randint(0, 99)}_{i}"] = layer()
        elif what == "extend":
            getattr(model, choose.choice(lists)).extend([layer(), layer()])
        elif what == "nest":
            setattr(model, f"nest_{i}", [(layer(), [layer()]), {"a": layer()}])
        elif what == "earlier":
            later, earlier = layer(), layer()
            setattr(model, f"early_{i}", earlier)
            setattr(model, f"late_{i}", later)
        elif attributes:
            setattr(model, f"again_{i}", getattr(model, choose.choice(attributes)))
    return [x.name for x in model.layers]


@pytest.mark.parametrize("seed", range(60))
def test_the_order_is_that_of_keras(seed):
    assert order(lamina, seed) == order(oracle, seed)


def test_what_has_been_removed_is_not_kept():
    import gc
    import weakref

    model = lamina.Model()
    model.blocks = [lamina.layers.Dense(1)]
    model.head = lamina.layers.Dense(1, name="head")
    gone = weakref.ref(model.blocks[0])
    assert len(model.layers) == 2
    model.blocks.clear()
    assert [x.name for x in model.layers] == ["head"]
    gc.collect()
    assert gone() is None
