"""What TensorBoard's own reader finds in the files."""

import gzip
import json
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

import lamina as keras
from lamina import layers
from lamina.callbacks import TensorBoard
from lamina.callbacks.events import EventWriter, as_images
from lamina.errors import ArgumentError, UnknownNameError

X = np.random.default_rng(0).integers(0, 5, (12, 3))
Y = np.random.default_rng(1).normal(size=(12, 1)).astype("float32")


def make():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,), name="words")
    x = layers.Flatten()(layers.Embedding(5, 2, name="table")(inputs))
    model = keras.Model(inputs, layers.Dense(1, name="out")(x))
    model.compile(keras.optimizers.SGD(0.5), "mse", metrics=["mae"])
    return model


def fit(model, folder, epochs=2, validation=True, **options):
    """The history, and what each run holds by tag: steps and values."""
    board = TensorBoard(folder, **options)
    data = (X[:4], Y[:4]) if validation else None
    history = model.fit(
        X, Y, epochs=epochs, batch_size=4, verbose=0, validation_data=data, callbacks=[board]
    )
    return history.history, read(folder)


def read(folder):
    runs = {}
    for path in folder.iterdir():
        if path.is_dir():
            found = EventAccumulator(str(path)).Reload()
            runs[path.name] = {
                tag: [
                    (e.step, tensor_util.make_ndarray(e.tensor_proto)) for e in found.Tensors(tag)
                ]
                for tag in found.Tags()["tensors"]
            }
    return runs


def values(run, tag):
    return [float(v) for _, v in run[tag]]


def test_logs_of_epochs_are_scalars_with_keras_s_tags(tmp_path):
    history, runs = fit(make(), tmp_path)
    assert set(runs["train"]) == {"epoch_loss", "epoch_mae", "epoch_learning_rate"}
    assert set(runs["validation"]) == {
        "epoch_loss", "epoch_mae", "evaluation_loss_vs_iterations", "evaluation_mae_vs_iterations",
    }  # fmt: skip
    for run, prefix in (("train", ""), ("validation", "val_")):
        assert [s for s, _ in runs[run]["epoch_loss"]] == [0, 1]
        expected = np.float32(history[f"{prefix}loss"]).tolist()
        assert values(runs[run], "epoch_loss") == expected
    assert values(runs["train"], "epoch_learning_rate") == [0.5, 0.5]
    found = runs["validation"]["evaluation_mae_vs_iterations"]
    assert [s for s, _ in found] == [3, 6]


def test_logs_of_steps(tmp_path):
    history, runs = fit(
        make(), tmp_path, update_freq=2, write_steps_per_second=True, write_graph=False
    )
    train = runs["train"]
    assert {"batch_loss", "batch_mae", "batch_steps_per_second"} <= set(train)
    assert [s for s, _ in train["batch_loss"]] == [2, 4, 6]
    assert values(train, "batch_loss")[2] == np.float32(history["loss"][1])
    assert all(v > 0 for v in values(train, "epoch_steps_per_second"))
    assert len(fit(make(), tmp_path / "b", update_freq="batch")[1]["train"]["batch_loss"]) == 6


def test_without_steps_the_loop_may_run_many_at_once():
    hooks = keras.callbacks.CallbackList([TensorBoard(histogram_freq=1)])
    assert not hooks.wants_batches("train")
    assert not hooks.wants_batches("test")


def test_weights_are_histograms_and_images(tmp_path):
    model = make()
    _, runs = fit(model, tmp_path, epochs=3, histogram_freq=2, write_images=True)
    train = runs["train"]
    kernel = model.layers[-1].kernel
    assert kernel.path == "out/kernel"
    assert [s for s, _ in train["out/kernel/histogram"]] == [0, 2]
    buckets = train["out/kernel/histogram"][1][1]
    assert buckets.shape == (30, 3)
    np.testing.assert_allclose(buckets[[0, -1], [0, 1]], [np.min(kernel), np.max(kernel)])
    assert buckets[:, 2].sum() == kernel.size
    np.testing.assert_array_equal(buckets[1:, 0], buckets[:-1, 1])
    width, height, png = train["table/embeddings/image"][0][1]
    assert (width, height) == (b"5", b"2")
    assert png.startswith(b"\x89PNG")


def test_histograms_of_constants_and_of_nothing_finite(tmp_path):
    writer = EventWriter(tmp_path / "run")
    writer.histogram("constant", np.full(4, 0.5), 0)
    writer.histogram("nan", np.full(4, np.nan), 0)
    writer.images("images", np.linspace(0, 1, 4 * 9 * 3).reshape(4, 3, 3, 3), 0)
    writer.scalars({"per_class": np.array([0.25, 0.5])}, "epoch_", 1)
    writer.flush()
    run = read(tmp_path)["run"]
    assert run["constant"][0][1][-1].tolist() == [0.5, 0.5, 4.0]
    assert not run["nan"][0][1].any()
    assert len(run["images"][0][1]) == 5  # the size, and three of four images
    assert values(run, "epoch_per_class_1") == [0.5]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((4,), (1, 4, 1, 1)), ((5, 2), (1, 2, 5, 1)), ((2, 5), (1, 2, 5, 1)),
        ((3, 4, 1, 6), (6, 3, 4, 1)), ((2, 3, 4, 3), (2, 3, 4, 3)), ((2, 3, 4, 5), None),
        ((2, 2, 2, 2, 2), None),
    ],
)  # fmt: skip
def test_weights_as_images(shape, expected):
    images = as_images(np.zeros(shape))
    assert (images if images is None else images.shape) == expected


def test_the_graph_is_what_tensorboard_draws(tmp_path):
    x = keras.Input((3,), name="x")
    part = keras.Model(x, layers.Dense(3, name="inside")(x), name="part")
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    sine = layers.Lambda(lambda x: jnp.sin(x) + 0, name="sine")  # is no data, so not in a file
    twice = part(part(sine(a)) * 2.0)
    kept = layers.Attention(name="attends")([a[:, None], a[:, None]], mask=[None, b[:, None, 0]])
    model = keras.Model([a, b], {"twice": twice, "kept": kept})
    model.compile("sgd", None)
    writer = EventWriter(tmp_path / "run")
    writer.graph(model)
    writer.flush()
    graph = EventAccumulator(str(tmp_path / "run")).Reload().Graph()
    edges = {node.name: sorted(i.partition(":")[0] for i in node.input) for node in graph.node}
    assert edges["part/inside"] == ["part/x"]
    assert edges["part/x"] == ["sine"]
    assert edges["part.2/x"] == ["multiply"]
    assert edges["multiply"] == ["part/inside"]
    assert edges["attends"] == ["get_item", "get_item_1", "get_item_2"]
    assert edges["get_item_2"] == ["b"]
    (dense,) = (node for node in graph.node if node.name == "part/inside")
    assert dense.op == "Dense"
    (shape,) = dense.attr["_output_shapes"].list.shape
    assert [d.size for d in shape.dim] == [-1, 3]


def test_embeddings_are_for_the_projector(tmp_path):
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    model = make()
    fit(model, tmp_path, embeddings_freq=1, embeddings_metadata={"table": "words.tsv"})
    text = (tmp_path / "projector_config.pbtxt").read_text()
    (entry,) = text_format.Parse(text, ProjectorConfig()).embeddings
    assert (entry.tensor_name, entry.metadata_path) == ("table", "words.tsv")
    table = np.loadtxt(tmp_path / entry.tensor_path, delimiter="\t")
    np.testing.assert_array_equal(table.astype("float32"), model.layers[1].embeddings)
    fit(model, tmp_path / "one", embeddings_freq=1, embeddings_metadata="all.tsv")
    assert 'metadata_path: "all.tsv"' in (tmp_path / "one" / "projector_config.pbtxt").read_text()
    with pytest.raises(UnknownNameError, match="tabel"):
        fit(model, tmp_path / "bad", embeddings_freq=1, embeddings_metadata={"tabel": "words.tsv"})


def test_an_evaluation_is_a_run(tmp_path):
    model = make()
    loss, _ = model.evaluate(X, Y, verbose=0, callbacks=[TensorBoard(tmp_path)])
    runs = read(tmp_path)
    assert list(runs) == ["validation"]
    ((step, value),) = runs["validation"]["evaluation_loss_vs_iterations"]
    assert (step, float(value)) == (0, np.float32(loss))


def test_steps_can_be_profiled(tmp_path):
    """In a process of its own: a profile contains every program that was compiled before."""
    code = (
        "import sys, numpy as np, lamina as keras\n"
        "model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])\n"
        "model.compile('sgd', 'mse')\n"
        "board = keras.callbacks.TensorBoard(sys.argv[1], profile_batch=(2, 3))\n"
        "model.fit(np.ones((12, 3)), np.ones((12, 1)), batch_size=4, verbose=0, callbacks=[board])"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    folder = tmp_path / "train" / "plugins" / "profile"
    assert list(folder.rglob("*.xplane.pb"))
    (trace,) = folder.rglob("*.trace.json.gz")
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    steps = [e["args"]["step_num"] for e in events if e.get("name") == "train"]
    assert steps == ["2", "3"]  # whose times the overview shows


@pytest.mark.parametrize(
    "options",
    [{"update_freq": 0}, {"update_freq": "step"}, {"profile_batch": -1}, {"profile_batch": (3, 2)},
     {"profile_batch": "a"}, {"profile_batch": (1, 2, 3)}],
)  # fmt: skip
def test_wrong_arguments_are_refused(options):
    with pytest.raises(ArgumentError, match=f"`{next(iter(options))}`"):
        TensorBoard(**options)


def test_the_missing_package_is_named():
    code = (
        "import sys; sys.modules['tensorboard'] = None\n"
        "import lamina\n"
        "try: lamina.callbacks.TensorBoard()\n"
        "except ImportError as e: print(e)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'lamina[tensorboard]'" in out.stdout
