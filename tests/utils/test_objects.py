"""Progbar, Config and the older description of objects, beside Keras's."""

import copy
import io
import json
import pickle
import re

import keras
import pytest

import lamina
from lamina.errors import ArgumentError, LaminaError, SerializationError, UnknownNameError
from lamina.utils import Config, Progbar, legacy

# ----------------------------------------------------------------------------------------- Progbar

UPDATES = [(1, [("loss", 1.0)]), (2, [("loss", 3.0), ("acc", 0.5)]), (3, [("loss", 2.5)])]
LAST = (5, [("loss", 2.0)])


class Terminal(io.StringIO):
    def isatty(self):
        return True


def output(cls, updates, monkeypatch, stream=io.StringIO, **options):
    stream = stream()
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    keras.utils.enable_interactive_logging()
    bar = cls(**options)
    for update in updates:
        bar.update(*update)
    return stream.getvalue()


def metrics(line):
    return re.findall(r"(\w+): ([\d.]+)", line)


@pytest.mark.parametrize(
    "options", [{}, {"stateful_metrics": ["loss"]}, {"stateless_metrics": ["acc"]}]
)
@pytest.mark.parametrize("updates", [UPDATES, [*UPDATES, LAST], [(0, UPDATES[0][1]), *UPDATES]])
def test_moving_line_shows_the_metrics_of_keras(options, updates, monkeypatch):
    lines = [
        output(cls, updates, monkeypatch, Terminal, target=5, interval=0, **options)
        .replace("\x08", "").split("\r")[1:]
        for cls in (Progbar, keras.utils.Progbar)
    ]  # fmt: skip
    assert [metrics(line) for line in lines[0]] == [metrics(line) for line in lines[1]]
    assert len(lines[0]) == len(updates)


@pytest.mark.parametrize("verbose", [1, 2])
@pytest.mark.parametrize("target", [5, None])
def test_plain_output_is_one_line_at_the_end(verbose, target, monkeypatch):
    updates = [*UPDATES, (*LAST, True)]
    text = output(Progbar, updates, monkeypatch, target=target, verbose=verbose)
    assert re.fullmatch(r"5/5 - 0s - \d+[mu]?s/step - loss: 2\.0000 - acc: 0\.5000\n", text)
    assert output(Progbar, UPDATES, monkeypatch, target=5, verbose=verbose) == ""


def test_options_of_the_bar(monkeypatch):
    assert output(Progbar, [LAST], monkeypatch, target=5, verbose=0) == ""
    text = output(Progbar, UPDATES[:1], monkeypatch, Terminal, target=4, width=8, unit_name="file")
    assert "━━──────1/4" in text.replace(" ", "") or "1/4 ━━──────" in text
    assert "s/file" in text or "ETA" in text
    assert "━" not in output(Progbar, UPDATES, monkeypatch, Terminal, target=5, width=0)
    rare = output(Progbar, UPDATES, monkeypatch, Terminal, target=5, interval=1e6)
    assert rare.count("\r") == 1


def test_add_counts_on(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stdout", stream)
    bar = Progbar(3, verbose=2)
    bar.add(2, [("a", 1.0)])
    assert stream.getvalue() == ""
    bar.add(1)
    assert stream.getvalue().startswith("3/3 - 0s - ")
    assert (bar.target, bar.width, bar.interval, bar.unit_name) == (3, 20, 0.05, "step")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stateful_metrics": ["a"], "stateless_metrics": []}, "Received: both"),
        ({"target": -1}, "`target` expects"),
        ({"width": -1}, "`width` expects"),
        ({"verbose": 3}, "`verbose` must be"),
    ],
)
def test_progbar_refuses(options, message):
    with pytest.raises(ArgumentError, match=message):
        Progbar(**{"target": 5, **options})


def test_sequence_is_py_dataset():
    assert lamina.utils.Sequence is lamina.utils.PyDataset


# ------------------------------------------------------------------------------------------ Config


@pytest.mark.parametrize("cls", [Config, keras.utils.Config])
def test_config_beside_keras(cls):
    config = cls(rate=0.1, layers=[1, {"x": None}])
    config.seed = 3
    config["new name"] = "text"
    config.update({"rate": 0.2}, more=True)
    assert config.pop("more") is True
    assert config.get("nothing", 7) == 7
    assert (config.rate, config["seed"], len(config), "seed" in config) == (0.2, 3, 4, True)
    assert list(config.keys()) == ["rate", "layers", "seed", "new name"]
    assert sorted(config) == sorted(config.keys())
    assert next(iter(config.items())) == ("rate", 0.2)
    assert list(config.values())[-1] == "text"
    assert repr(config) == f"<Config {config.as_dict()}>"
    assert json.loads(config.to_json()) == config.as_dict()
    for copied in (copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert copied.as_dict() == config.as_dict()
        assert copied.frozen is False
    del config["seed"]
    assert not hasattr(config, "seed")
    config.freeze()
    assert config.frozen
    for change in (
        lambda: setattr(config, "rate", 1),
        lambda: config.update(rate=1),
        lambda: config.pop("rate"),
        lambda: config.__setitem__("rate", 1),
        lambda: config.__delitem__("rate"),
    ):
        with pytest.raises(ValueError, match="frozen"):
            change()
    assert config.rate == 0.2
    config.unfreeze()
    config.rate = 1
    assert config.as_dict()["rate"] == 1


def test_config_beyond_keras():
    config = Config(a=1, inner=Config(b=2), items=3)
    assert json.loads(config.to_json()) == {"a": 1, "inner": {"b": 2}, "items": 3}
    assert config["items"] == 3
    assert "a" in dir(config)
    assert config == Config(a=1, inner=Config(b=2), items=3) != Config(a=1)
    del config.a
    assert "a" not in config
    with pytest.raises(AttributeError, match=r"no entry 'a'. It has: \['inner', 'items'\]"):
        _ = config.a
    with pytest.raises(AttributeError, match="no entry 'a'"):
        del config.a
    with pytest.raises(ArgumentError, match=r"Write config\['items'\]"):
        config.items = 4
    with pytest.raises(SerializationError, match=r"'inner': 'Config', .*'x': 'object'"):
        Config(inner=Config(), x=object()).to_json()


# ------------------------------------------------------------------------------------------ legacy


@lamina.saving.register_keras_serializable("legacy_test")
class Basket:
    def __init__(self, size=1):
        self.size = size

    def get_config(self):
        return {"size": self.size}


@lamina.saving.register_keras_serializable("legacy_test")
def weigh(x):
    return x


class Tool:
    """Has no config, as most of what a `globals()` holds."""

    calls = 0

    def __init__(self, **options):
        Tool.calls += 1


def call_me(**options):
    Tool.calls += 1


TABLE = {"Basket": Basket, "Tool": Tool, "call_me": call_me, "Dense": lamina.layers.Dense}


@pytest.mark.parametrize(
    "name", ["regularizers.L1L2", "initializers.HeNormal", "losses.MeanSquaredError"]
)
def test_serialized_as_keras(name):
    namespace, name = name.split(".")
    ours, theirs = (getattr(getattr(k, namespace), name)() for k in (lamina, keras))
    received = legacy.serialize_keras_object(ours)
    assert received == keras.utils.legacy.serialize_keras_object(theirs)
    assert json.loads(json.dumps(received)) == received
    again = legacy.deserialize_keras_object(received, vars(getattr(lamina, namespace)))
    assert again.get_config() == ours.get_config()


def test_serialized_names():
    assert legacy.serialize_keras_object(None) is None
    assert legacy.serialize_keras_object(lamina.activations.relu) == "relu"
    assert legacy.serialize_keras_object(weigh) == "legacy_test>weigh"
    assert legacy.serialize_keras_object(Basket(3)) == {
        "class_name": "legacy_test>Basket", "config": {"size": 3},
    }  # fmt: skip


@pytest.mark.parametrize("value", [3, lambda x: x, Basket, Tool()])
def test_serialize_refuses(value):
    with pytest.raises(SerializationError, match="expects an object with `get_config`"):
        legacy.serialize_keras_object(value)


def test_names_are_looked_up_in_every_table():
    make = legacy.deserialize_keras_object
    config = {"class_name": "legacy_test>Basket", "config": {"size": 3}}
    assert make(config).size == 3
    assert make({**config, "class_name": "Basket"}, TABLE).size == 3
    assert make({**config, "class_name": "Mine"}, custom_objects={"Mine": Basket}).size == 3
    with lamina.utils.custom_object_scope({"Scoped": Basket}):
        assert make({**config, "class_name": "Scoped"}).size == 3
    assert make("Basket", TABLE).size == 1
    assert make("legacy_test>weigh") is weigh
    assert make("call_me", TABLE) is call_me
    assert make(weigh) is weigh
    assert make(None) is None
    dense = make(legacy.serialize_keras_object(lamina.layers.Dense(3, name="d")), TABLE)
    assert (dense.units, dense.name) == (3, "d")


@pytest.mark.parametrize(
    ("identifier", "error", "message"),
    [
        ({"class_name": "Tool", "config": {}}, SerializationError, "class with a `get_config`"),
        ({"class_name": "call_me", "config": {}}, SerializationError, "class with a `get_config`"),
        ("Tool", SerializationError, "class with a `get_config`"),
        ({"class_name": "os.system", "config": {}}, UnknownNameError, "Unknown layer: 'os.system'"),
        ({"class_name": ["x"], "config": {}}, UnknownNameError, "Unknown layer"),
        ("Baskt", UnknownNameError, "mean 'Basket'"),
        ({"class_name": "Basket", "config": {"x": 1}}, SerializationError, "cannot be created"),
        ({"class_name": "Basket", "config": [1]}, SerializationError, "dict of arguments"),
        ({"class_name": "Basket"}, ArgumentError, "This layer expects a dict"),
        (3, ArgumentError, "This layer expects a dict"),
        (Basket, ArgumentError, "This layer expects a dict"),
    ],
)
def test_nothing_else_is_called(identifier, error, message):
    calls = Tool.calls
    with pytest.raises(error, match=message) as caught:
        legacy.deserialize_keras_object(identifier, TABLE, printable_module_name="layer")
    assert isinstance(caught.value, LaminaError)
    assert Tool.calls == calls


def test_bytes_are_text_in_configs():
    for library, other in ((lamina, keras), (keras, lamina)):
        written = library.utils.serialize_keras_object({"words": [b"caf\xc3\xa9"]})
        assert other.utils.deserialize_keras_object(written) == {"words": [b"caf\xc3\xa9"]}
    with pytest.raises(SerializationError, match="UTF-8"):
        lamina.utils.serialize_keras_object(b"\xff")
