"""Distillation: Keras's losses step by step, files, and what is refused."""

import keras
import numpy as np
import pytest

import lamina
from lamina import distillation
from lamina.errors import ArgumentError, GraphError, ShapeError, UnknownNameError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(8, 4)).astype("float32"), RNG.integers(0, 3, 8)


def network(library, units, name, outputs=3):
    layers = library.layers
    return library.Sequential(
        [library.Input((4,)), layers.Dense(units, "tanh", name="hidden"),
         layers.Dense(6, "tanh", name="features"), layers.Dense(outputs, name="scores")],
        name=name,
    )  # fmt: skip


def losses(library, which):
    d, k = library.distillation, library.losses
    return {
        "logits": lambda: d.LogitsDistillation(2.0, k.KLDivergence()),
        "other_loss": lambda: d.LogitsDistillation(loss=k.MeanAbsoluteError()),
        "outputs": lambda: d.FeatureDistillation("mse"),
        "several": lambda: [
            d.LogitsDistillation(loss=k.KLDivergence()),
            d.FeatureDistillation("mae", teacher_layer_name="features",
                                  student_layer_name="features"),
        ],
    }[which]()  # fmt: skip


def distiller(library, which, **kwargs):
    teacher, student = network(library, 9, "teacher"), network(library, 5, "student")
    rng = np.random.default_rng(1)
    for model in (teacher, student):
        model.set_weights([0.5 * rng.normal(size=w.shape) for w in model.get_weights()])
    made = library.distillation.Distiller(teacher, student, losses(library, which), **kwargs)
    loss = library.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile(library.optimizers.SGD(0.5), loss, ["accuracy"])
    return made


@pytest.mark.parametrize(
    ("which", "kwargs"),
    [
        ("logits", {}),
        ("other_loss", {"student_loss_weight": 0.2}),
        ("outputs", {"student_loss_weight": 0.0}),
        ("several", {"distillation_loss_weights": [0.5, 2.0]}),
        ("logits", {"student_loss_weight": 1.0, "name": "own"}),
    ],
)
def test_training_agrees_with_keras(which, kwargs):
    ours, theirs = distiller(lamina, which, **kwargs), distiller(keras, which, **kwargs)
    logs = [m.fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0).history
            for m in (ours, theirs)]  # fmt: skip
    assert {*logs[0]} == {*logs[1]}
    for name, values in logs[0].items():
        np.testing.assert_allclose(values, logs[1][name], rtol=1e-4, atol=1e-5, err_msg=name)
    for a, b in zip(ours.student.get_weights(), theirs.student.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.predict(X, verbose=0), ours.student.predict(X, verbose=0))


def test_the_default_compares_probabilities():
    a, b = RNG.normal(size=(5, 3)).astype("float32"), RNG.normal(size=(5, 3)).astype("float32")
    default = distillation.LogitsDistillation().compute_loss(a, b)
    named = distillation.LogitsDistillation(loss=lamina.losses.KLDivergence()).compute_loss(a, b)
    np.testing.assert_allclose(default, named, rtol=1e-6)


def test_files(tmp_path):
    ours = distiller(lamina, "several", student_loss_weight=0.25)
    ours.fit(X, Y, verbose=0)
    ours.save(tmp_path / "ours.keras")
    loaded = lamina.models.load_model(tmp_path / "ours.keras")
    assert loaded.student_loss_weight == 0.25
    assert [type(x) for x in loaded.distillation_losses] == [
        type(x) for x in ours.distillation_losses
    ]
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), ours.predict(X, verbose=0))
    before = ours.evaluate(X, Y, verbose=0, return_dict=True)
    after = loaded.evaluate(X, Y, verbose=0, return_dict=True)
    assert before == pytest.approx(after)


class Short(distillation.DistillationLoss):
    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        return teacher_outputs - student_outputs


def test_a_loss_of_several_numbers_is_refused():
    made = distillation.Distiller(network(lamina, 3, "t"), network(lamina, 3, "s"), Short())
    made.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ShapeError, match="`compute_loss` of Short must return a scalar"):
        made.fit(X, Y, verbose=0)


@pytest.mark.parametrize(
    ("student", "loss", "kwargs", "error", "told"),
    [
        ({"outputs": 4}, "logits", {}, ShapeError, "student's outputs differ"),
        ({}, "logits", {"student_loss_weight": 2}, ArgumentError, r"`student_loss_weight`: .* 2"),
        ({}, "several", {"distillation_loss_weights": [1]}, ArgumentError, "must have 2 weights"),
    ],
)
def test_what_is_refused(student, loss, kwargs, error, told):
    student = network(lamina, 2, "student", **student)
    with pytest.raises(error, match=told):
        distillation.Distiller(
            network(lamina, 3, "teacher"), student, losses(lamina, loss), **kwargs
        )


def test_names_of_layers_are_checked_at_once():
    loss = distillation.FeatureDistillation(teacher_layer_name="hiden")
    with pytest.raises(UnknownNameError, match="Did you mean 'hidden'"):
        distillation.Distiller(network(lamina, 3, "t"), network(lamina, 3, "s"), loss)

    class Own(lamina.Model):
        def call(self, x):
            return x

    with pytest.raises(GraphError, match="has no graph"):
        distillation.Distiller(Own(), Own(), loss)
    with pytest.raises(ArgumentError, match="at least one loss that is not None"):
        distillation.FeatureDistillation(loss=[None, None])
