"""Attributes of objects that programs for Keras read: the same names and values here."""

import keras
import numpy as np
import pytest

import lamina
from lamina import layers

# How to make an object of either library, and the attributes to compare.
OBJECTS = {
    "auc": (lambda k: k.metrics.AUC(), "thresholds num_thresholds"),
    "auc_of_some": (lambda k: k.metrics.AUC(thresholds=[0.9, 0.2]), "thresholds num_thresholds"),
    "precision": (lambda k: k.metrics.Precision(), "thresholds init_thresholds"),
    "recall": (lambda k: k.metrics.Recall(thresholds=[0.2, 0.5]), "thresholds init_thresholds"),
    "false_positives": (lambda k: k.metrics.FalsePositives(0.3), "thresholds init_thresholds"),
    "sensitivity": (
        lambda k: k.metrics.SensitivityAtSpecificity(0.4, num_thresholds=5), "thresholds value"),
    "recall_at": (lambda k: k.metrics.RecallAtPrecision(0.6, num_thresholds=1), "thresholds value"),
    "f1": (lambda k: k.metrics.F1Score(), "beta"),
    "mean_iou": (lambda k: k.metrics.MeanIoU(3), "target_class_ids sparse_y_true"),
    "one_hot_iou": (lambda k: k.metrics.OneHotIoU(3, [1]), "target_class_ids sparse_y_true"),
    "binary_iou": (lambda k: k.metrics.BinaryIoU(),
                   "num_classes sparse_y_true sparse_y_pred ignore_class axis target_class_ids"),
    "max": (lambda k: k.layers.MaxPooling1D(2), "pool_mode"),
    "average": (lambda k: k.layers.AveragePooling2D(2), "pool_mode"),
    "gru": (lambda k: k.layers.GRU(3), "state_size single_state states"),
    "lstm": (lambda k: k.layers.LSTM(3), "state_size single_state states"),
    "stacked": (lambda k: k.layers.RNN([k.layers.GRUCell(2), k.layers.LSTMCell(3)]),
                "state_size single_state states"),
    "bidirectional": (lambda k: k.layers.Bidirectional(k.layers.GRU(3)), "states"),
    "heads": (lambda k: k.layers.MultiHeadAttention(2, 3), "value_dim"),
    "groups": (lambda k: k.layers.GroupQueryAttention(4, 4, 2), "num_repeats"),
    "csv": (lambda k: k.callbacks.CSVLogger("log.csv"), "filename"),
    "backup": (lambda k: k.callbacks.BackupAndRestore("backup"), "backup_dir"),
}  # fmt: skip


@pytest.mark.parametrize("name", OBJECTS)
def test_attributes(name):
    make, attributes = OBJECTS[name]
    ours, theirs = make(lamina), make(keras)
    for attribute in attributes.split():
        found, expected = getattr(ours, attribute), getattr(theirs, attribute)
        assert isinstance(expected, type(found)), attribute
        if isinstance(expected, list) and attribute == "thresholds":
            np.testing.assert_allclose(found, expected, rtol=1e-6)
        else:
            assert found == expected, attribute


CONFIGS = {
    "rnn": lambda k: k.layers.RNN(k.layers.GRUCell(2), return_state=True, name="a"),
    "pipeline": lambda k: k.layers.Pipeline([k.layers.Rescaling(2.0, name="b")], name="a"),
    "auc": lambda k: k.metrics.AUC(thresholds=[0.9, 0.2], name="a"),
    "recall": lambda k: k.metrics.Recall(0.2, name="a"),
    "heads": lambda k: k.layers.MultiHeadAttention(2, 3, name="a"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configs(name):
    ours, theirs = (CONFIGS[name](k) for k in (lamina, keras))
    config, expected = ours.get_config(), theirs.get_config()
    names = set(expected) - {"cell", "layers"}
    assert {n: config[n] for n in names} == {n: expected[n] for n in names}
    assert type(ours).from_config(config).get_config() == config
    if name == "pipeline":
        assert config["layers"][0]["class_name"] == "Rescaling"


def test_a_config_of_an_optimizer_with_classes_of_its_own():
    class Halved(lamina.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.5 / (step + 1)

        def get_config(self):
            return {}

    made = lamina.optimizers.SGD.from_config(
        {"learning_rate": {"class_name": "Halved", "config": {}}}, custom_objects={"Halved": Halved}
    )
    assert isinstance(made._rate, Halved)


def test_what_is_compared_and_computed_by():
    for k in (lamina, keras):
        loss = k.losses.MeanAbsoluteError()
        assert loss.fn is k.losses.mean_absolute_error
    assert lamina.callbacks.EarlyStopping("val_accuracy").monitor_op(0.8, 0.7)
    assert lamina.callbacks.ModelCheckpoint("a.keras", "loss").monitor_op(0.7, 0.8)
    scaled = lamina.optimizers.LossScaleOptimizer("sgd", initial_scale=4.0)
    scaled.build([lamina.Variable(np.ones(2))])
    assert (float(scaled.dynamic_scale), int(scaled.step_counter)) == (4.0, 0)


@pytest.mark.parametrize("kind", [layers.CenterCrop, layers.Resizing])
def test_layers_that_draw_nothing_need_no_transformation(kind):
    x = np.random.default_rng(1).uniform(size=(1, 4, 4, 3)).astype("float32")
    theirs = getattr(keras.layers, kind.__name__)(2, 2)
    found = kind(2, 2).transform_images(x)
    np.testing.assert_allclose(found, theirs.transform_images(x), rtol=1e-5)


def test_a_subclass_draws_from_the_seeds_of_its_layer():
    class Noisy(layers.Dropout):
        def call(self, inputs, training=False):
            first, second = (
                lamina.random.uniform(inputs.shape, seed=self.seed_generator) for _ in range(2)
            )
            return inputs + first - 2 * second

    x = np.zeros((4, 3), "float32")
    drawn = []
    for _ in range(2):
        lamina.utils.set_random_seed(1)
        model = lamina.Sequential([lamina.Input((3,)), Noisy(0.5, seed=7)])
        model.compile("sgd", "mse")
        drawn.append([model(x), model(x)])
    (a, b), (c, d) = drawn
    assert np.any(a != b)
    np.testing.assert_array_equal([a, b], [c, d])
    assert layers.RandomFlip().generator.next().shape == (2,)
    for layer in (layers.GRUCell(2), layers.MultiHeadAttention(2, 2), layers.Attention()):
        assert layer.seed_generator.next().dtype == "uint32"
