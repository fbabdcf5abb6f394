"""Callbacks: who is called when, and what each of them does with the logs."""

import csv
import inspect
import math

import numpy as np
import pytest

import lamina
from lamina.callbacks import (
    BackupAndRestore,
    Callback,
    CallbackList,
    CSVLogger,
    EarlyStopping,
    History,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    OrbaxCheckpoint,
    ProgbarLogger,
    ReduceLROnPlateau,
    RemoteMonitor,
    SwapEMAWeights,
    TensorBoard,
    TerminateOnNaN,
)
from lamina.errors import ArgumentError, NonFiniteError, TrainingWarning, UnknownNameError


class Optimizer:
    def __init__(self, learning_rate=0.5):
        self.learning_rate = learning_rate


class Model:
    """What callbacks know of a model; its weight is the number of epochs trained."""

    def __init__(self):
        self.stop_training = False
        self.optimizer = Optimizer()
        self.weights = 0
        self.saved = []

    def get_weights(self):
        return [np.array(self.weights)]

    def set_weights(self, weights):
        self.weights = int(weights[0])

    def save(self, path):
        self.saved.append(str(path))

    def save_weights(self, path):
        self.saved.append(f"weights:{path}")


def fit(callbacks, epochs, *, model=None, steps=1, params=None, start=0, states=None):
    """Drive callbacks as the loop does, ``epochs`` being the logs of each epoch."""
    model = model or Model()
    hooks = CallbackList(callbacks, add_history=True, model=model, **(params or {}))
    hooks.on_train_begin()
    for callback, state in zip(hooks.callbacks, states or [], strict=False):
        callback.set_state(state)
    model.stop_training = False
    logs = {}
    for epoch, logs in enumerate(map(dict, epochs), start):
        hooks.on_epoch_begin(epoch)
        for step in range(steps):
            hooks.on_train_batch_begin(step)
            hooks.on_train_batch_end(step, {k: v for k, v in logs.items() if k[:4] != "val_"})
        model.weights += 1
        hooks.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    hooks.on_train_end(logs)
    return hooks


def losses(*values, name="val_loss"):
    return [{"loss": 1.0, name: v} for v in values]


# ---- the list ----------------------------------------------------------------------------------


def test_hooks_are_called_in_order_with_position_and_logs():
    heard = []

    class Listener(Callback):
        def on_train_begin(self, logs=None):
            heard.append(("begin", logs))

        def on_epoch_end(self, epoch, logs=None):
            heard.append((epoch, logs))

        def on_batch_end(self, batch, logs=None):
            heard.append(("batch", batch, logs))

    model = Model()
    listener = Listener()
    fit([listener], [{"loss": 0.5}], model=model, steps=2, params={"epochs": 1})
    assert heard == [
        ("begin", {}), ("batch", 0, {"loss": 0.5}), ("batch", 1, {"loss": 0.5}), (0, {"loss": 0.5}),
    ]  # fmt: skip
    assert listener.model is model
    assert listener.params == {"epochs": 1}


@pytest.mark.parametrize("name", [n for n in dir(Callback) if n.startswith("on_")])
def test_every_hook_reaches_a_callback_that_overrides_it(name):
    heard = []
    listener = LambdaCallback(**{name: lambda *args: heard.append(args)})
    takes = len(inspect.signature(getattr(Callback, name)).parameters) - 1
    hooks = CallbackList([listener])
    getattr(hooks, name)(*[3] * (takes - 1), {"loss": 1.0})
    if not name.startswith("on_batch"):  # there the list calls the training hooks
        assert heard == [(*[3] * (takes - 1), {"loss": 1.0})]


def test_logs_are_fetched_once_and_only_for_listeners():
    fetched = []

    def logs():
        fetched.append(1)
        return {"loss": 1.0}

    class Listener(Callback):
        def on_train_batch_end(self, batch, logs=None):
            assert logs == {"loss": 1.0}

    quiet = CallbackList([EarlyStopping("loss")])
    quiet.on_train_batch_end(0, logs)
    assert not fetched
    CallbackList([Listener(), Listener()]).on_train_batch_end(0, logs)
    assert fetched == [1]


def test_wants_batches_only_where_a_callback_hears_them():
    class Batches(Callback):
        def on_test_batch_end(self, batch, logs=None):
            pass

    class Old(Callback):
        def on_batch_begin(self, batch, logs=None):
            pass

    def wants(*callbacks):
        hooks = CallbackList(callbacks)
        return [mode for mode in ("train", "test", "predict") if hooks.wants_batches(mode)]

    builtin = [
        EarlyStopping(), ReduceLROnPlateau(), LearningRateScheduler(lambda epoch: 0.1),
        ModelCheckpoint("m.keras"), CSVLogger("log.csv"), TerminateOnNaN(), History(),
        LambdaCallback(on_epoch_end=print), BackupAndRestore("b"), OrbaxCheckpoint("o"),
        ProgbarLogger(), RemoteMonitor(), SwapEMAWeights(), TensorBoard("t", histogram_freq=1),
    ]  # fmt: skip
    assert wants() == []
    assert wants(*builtin) == []
    assert wants(*builtin, Batches()) == ["test"]
    assert wants(Old()) == ["train"]
    assert wants(LambdaCallback(on_train_batch_end=print)) == ["train"]
    assert wants(LambdaCallback(on_predict_batch_begin=print)) == ["predict"]
    assert wants(ModelCheckpoint("m.keras", save_freq=10)) == ["train"]
    assert wants(BackupAndRestore("b", save_freq=10)) == []  # `fit` saves between dispatches
    assert wants(TensorBoard("t", update_freq=10)) == ["train"]


def test_one_callback_nested_lists_and_a_list_of_callbacks_are_taken():
    a, b = Callback(), Callback()
    assert CallbackList(a).callbacks[0] is a
    nested = CallbackList([a, [b]])
    assert nested.callbacks == [a, b]
    assert CallbackList(nested).callbacks == nested.callbacks
    alone = CallbackList(add_history=True)
    assert alone.callbacks == [alone.history]
    assert CallbackList().callbacks == []


def test_a_history_of_the_users_is_used():
    history = History()
    hooks = fit([history], losses(0.5))
    assert hooks.history is history
    assert hooks.callbacks == [history]


@pytest.mark.parametrize("wrong", [EarlyStopping, print, "early_stopping"])
def test_what_is_no_callback_is_refused(wrong):
    with pytest.raises(ArgumentError, match=r"contains .*such as `EarlyStopping\(\)`"):
        CallbackList([History(), wrong])


def test_callbacks_of_other_libraries_work():
    class Foreign:
        def set_params(self, params): ...
        def set_model(self, model): ...
        def on_train_end(self, logs=None):
            self.ended = True

    foreign = Foreign()
    fit([foreign], losses(1.0))
    assert foreign.ended


# ---- history -----------------------------------------------------------------------------------


def test_history_keeps_logs_by_name_and_what_callbacks_add():
    class Adds(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["extra"] = epoch * 10

    history = fit([Adds()], [{"loss": 0.5}, {"loss": 0.25}], params={"epochs": 2}).history
    assert history.history == {"loss": [0.5, 0.25], "extra": [0, 10]}
    assert history.epoch == [0, 1]
    assert history.params == {"epochs": 2}


# ---- monitoring --------------------------------------------------------------------------------

MONITORS = [EarlyStopping, ReduceLROnPlateau, lambda m: ModelCheckpoint("m.keras", m, 0, True)]


@pytest.mark.parametrize("make", MONITORS)
def test_a_name_that_is_not_in_the_logs_warns_once_and_training_continues(make):
    with pytest.warns(TrainingWarning, match=r"'dev_loss', .*\['loss', 'val_loss'\]") as caught:
        hooks = fit([make("dev_loss")], losses(2.0, 1.0))
    assert hooks.history.epoch == [0, 1]
    assert len(caught) == 1


@pytest.mark.parametrize("make", MONITORS)
def test_it_warns_before_the_first_epoch_if_the_names_are_known(make):
    params = {"metrics": ["loss", "accuracy"]}
    with pytest.warns(TrainingWarning, match="need `validation_data`"):
        CallbackList([make("val_loss")], model=Model(), **params).on_train_begin()
    CallbackList([make("loss")], model=Model(), **params).on_train_begin()


def test_names_that_other_callbacks_may_add_are_waited_for():
    class Adds(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_f1"] = 0.5

    params = {"metrics": ["loss"]}
    hooks = fit([Adds(), EarlyStopping("val_f1")], [{"loss": 1.0}], params=params)
    assert hooks.callbacks[1].best == 0.5


def test_epochs_without_validation_are_passed_over():
    stop = EarlyStopping("val_loss", patience=2)
    epochs = [{"loss": 1.0}, {"loss": 1.0, "val_loss": 1.0}, *[{"loss": 1.0}] * 5]
    hooks = fit([stop], epochs, params={"metrics": ["loss", "val_loss"]})
    assert hooks.history.epoch == list(range(7))


@pytest.mark.parametrize(
    ("name", "maximize"),
    [
        ("val_loss", False), ("loss", False), ("val_accuracy", True), ("acc", True),
        ("val_head_auc_1", True), ("mean_absolute_error", False), ("val_mae", False),
        ("mean_io_u", True), ("top_k_categorical_accuracy", True), ("f1_score", True),
        ("binary_crossentropy", False), ("r2_score", True), ("accuracy_loss", False),
    ],
)  # fmt: skip
def test_the_name_says_what_is_better(name, maximize):
    assert EarlyStopping(name).maximize is maximize
    assert EarlyStopping(name, mode="max").maximize
    assert not EarlyStopping(name, mode="min").maximize


def test_a_name_that_does_not_say_it_is_minimized_with_a_warning():
    stop = EarlyStopping("val_custom")
    with pytest.warns(TrainingWarning, match=r"'val_custom' whether higher or lower .* mode='max'"):
        assert stop.better(1.0, than=2.0)
    with pytest.raises(ArgumentError, match=r"`mode` is 'auto', 'min' or 'max'\. Received: 'best'"):
        EarlyStopping("loss", mode="best")
    fit([ModelCheckpoint("m.keras", "val_custom")], losses(1.0))  # compares nothing


def test_all_models_are_saved_if_there_is_no_log_to_compare():
    """As in Keras; but not in an epoch without validation, where it would replace the best."""
    options = {"save_best_only": True, "verbose": 1}
    with pytest.warns(TrainingWarning, match="'val_nothing', which is not in the logs"):
        made = fit([ModelCheckpoint("{epoch}.keras", "val_nothing", **options)], losses(2.0, 3.0))
    assert made.model.saved == ["1.keras", "2.keras"]
    sometimes = [{"loss": 1.0, "val_loss": 2.0}, {"loss": 1.0}, {"loss": 1.0, "val_loss": 1.0}]
    made = fit([ModelCheckpoint("{epoch}.keras", **options)], sometimes)
    assert made.model.saved == ["1.keras", "3.keras"]


@pytest.mark.parametrize(
    ("metric", "maximize"),
    [
        (lamina.metrics.Recall(name="found"), True),
        (lamina.metrics.FalsePositives(name="wrong"), False),
        (lamina.metrics.CosineSimilarity(name="angle"), True),
        (lamina.metrics.MeanSquaredError(name="distance"), False),
    ],
)
def test_the_compiled_metric_says_what_is_better(metric, maximize):
    model = lamina.Sequential([lamina.Input((2,)), lamina.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=[metric])
    stop = EarlyStopping(f"val_{metric.name}")
    stop.set_model(model)
    assert stop.maximize is maximize


# ---- early stopping ----------------------------------------------------------------------------


def test_early_stopping_waits_for_its_patience():
    hooks = fit([stop := EarlyStopping(patience=2)], losses(3, 2, 2, 2, 1))
    assert hooks.history.epoch == [0, 1, 2, 3]
    assert (stop.best, stop.best_epoch, stop.stopped_epoch) == (2, 1, 3)
    assert hooks.model.weights == 4


@pytest.mark.parametrize("patience", [1, 10])
def test_the_best_weights_are_restored_whether_it_stopped_or_not(patience, capsys):
    stop = EarlyStopping(patience=patience, restore_best_weights=True, verbose=1)
    model = fit([stop], losses(3, 1, 2)).model
    assert model.weights == 2  # those at the end of the second epoch
    said = capsys.readouterr().out
    assert "Restored the weights of the best epoch, 2 (val_loss: 1)." in said
    assert ("Epoch 3: early stopping" in said) == (patience == 1)


def test_early_epochs_can_be_left_out():
    stop = EarlyStopping(restore_best_weights=True, start_from_epoch=2, patience=5)
    model = fit([stop], losses(0, 1, 3, 2)).model
    assert (stop.best, model.weights) == (2, 4)


def test_nothing_is_restored_where_nothing_was_measured():
    stop = EarlyStopping(restore_best_weights=True)
    assert fit([stop], losses(math.nan, math.nan)).model.weights == 2


def test_early_stopping_goes_on_where_it_was_interrupted():
    values = [3, 2, 2.5, 2.4, 2.3, 1]
    whole = fit([EarlyStopping(patience=3, restore_best_weights=True)], losses(*values))
    first = fit([EarlyStopping(patience=3, restore_best_weights=True)], losses(*values[:3]))
    model = Model()
    model.weights = 3
    states = [c.get_state() for c in first.callbacks]
    rest = fit(
        [EarlyStopping(patience=3, restore_best_weights=True)], losses(*values[3:]),
        model=model, start=3, states=states,
    )  # fmt: skip
    assert rest.history.epoch == whole.history.epoch
    assert rest.history.history == whole.history.history
    assert model.weights == whole.model.weights


def test_a_state_of_another_callback_is_refused():
    with pytest.raises(ArgumentError, match=r"EarlyStopping has the state \['best', .*Received"):
        EarlyStopping().set_state({"wait": 1})
    assert Callback().get_state() == {}


# ---- learning rates ----------------------------------------------------------------------------


def test_the_rate_falls_on_a_plateau(capsys):
    callback = ReduceLROnPlateau(factor=0.5, patience=2, min_lr=0.1, verbose=1)
    hooks = fit([callback], losses(*[1] * 9))
    assert (
        hooks.history.history["learning_rate"] == [0.5] * 3 + [0.25] * 2 + [0.125] * 2 + [0.1] * 2
    )
    assert "Epoch 3: learning rate reduced to 0.25." in capsys.readouterr().out


@pytest.mark.parametrize("order", [1, -1])
def test_the_logged_rate_is_the_one_that_the_epoch_was_trained_with(order):
    callbacks = [
        ReduceLROnPlateau(patience=1, factor=0.5),
        LearningRateScheduler(lambda epoch, rate: rate * 0.5),
    ]
    history = fit(callbacks[::order], losses(1, 1, 1)).history.history
    assert history["learning_rate"] == [0.25, 0.125, 0.03125]


def test_a_factor_that_does_not_reduce_is_refused():
    with pytest.raises(ArgumentError, match=r"`factor` must be below 1.*Received: 1.0"):
        ReduceLROnPlateau(factor=1.0)


@pytest.mark.parametrize(
    "schedule", [lambda epoch, rate: rate * 0.5, lambda epoch: 0.5 ** (epoch + 2)]
)
def test_a_schedule_sets_the_rate_of_each_epoch(schedule, capsys):
    history = fit([LearningRateScheduler(schedule, verbose=1)], losses(1, 1, 1)).history
    assert history.history["learning_rate"] == [0.25, 0.125, 0.0625]
    assert "Epoch 2: learning rate is 0.125." in capsys.readouterr().out


def test_a_schedule_must_return_a_number():
    with pytest.raises(ArgumentError, match="returned None for epoch 0"):
        fit([LearningRateScheduler(lambda epoch: None)], losses(1))


# ---- not a number ------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_training_ends_when_the_loss_is_not_finite(loss, capsys):
    hooks = fit([TerminateOnNaN()], [{"loss": 1.0}, {"loss": loss}, {"loss": 1.0}], steps=3)
    assert hooks.history.epoch == [0, 1]
    assert capsys.readouterr().out == f"Batch 0: the loss is {loss}, training is stopped.\n"


def test_it_notices_at_the_end_of_the_epoch_at_the_latest(capsys):
    hooks = fit([TerminateOnNaN()], [{"loss": math.nan}, {"loss": 1.0}], steps=0)
    assert hooks.history.epoch == [0]
    assert "Epoch 1: the loss is nan" in capsys.readouterr().out


def test_it_raises_an_error_where_asked():
    with pytest.raises(NonFiniteError, match="the loss is nan"):
        fit([TerminateOnNaN(raise_error=True)], [{"loss": math.nan}])


# ---- functions and tables ----------------------------------------------------------------------


def test_functions_become_callbacks():
    heard = []
    callback = LambdaCallback(
        on_epoch_end=lambda epoch, logs: heard.append((epoch, logs["loss"])),
        on_test_end=lambda logs: heard.append("test"),
    )
    hooks = fit([callback], losses(1, 2))
    hooks.on_test_end({})
    assert heard == [(0, 1.0), (1, 1.0), "test"]
    with pytest.raises(UnknownNameError, match=r"on_epoch_ends.*Did you mean 'on_epoch_end'"):
        LambdaCallback(on_epoch_ends=print)


def table(path, separator=","):
    with path.open(newline="") as file:
        return list(csv.reader(file, delimiter=separator))


def test_the_table_is_complete_after_each_epoch(tmp_path):
    path = tmp_path / "new" / "log.csv"
    seen = []
    watch = LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(len(table(path))))
    fit([CSVLogger(path), watch], losses(0.5, 0.25))
    assert seen == [2, 3]
    assert path.read_text() == "epoch,loss,val_loss\n0,1.0,0.5\n1,1.0,0.25\n"


def test_a_column_that_comes_later_is_added(tmp_path):
    path = tmp_path / "log.csv"
    fit(
        [CSVLogger(path, separator=";")],
        [{"loss": 3.0}, {"loss": 2.0, "val_loss": 4.0}, {"loss": 1.0}],
    )
    assert table(path, ";") == [
        ["epoch", "loss", "val_loss"], ["0", "3.0", "NA"], ["1", "2.0", "4.0"], ["2", "1.0", "NA"],
    ]  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["log.csv"]


def test_a_table_is_replaced_or_continued(tmp_path):
    path = tmp_path / "log.csv"
    fit([CSVLogger(path)], losses(0.5))
    fit([CSVLogger(path, append=True)], losses(0.25, 0.125), start=1)
    assert [row[0] for row in table(path)] == ["epoch", "0", "1", "2"]
    fit([CSVLogger(path)], losses(0.5))
    assert [row[0] for row in table(path)] == ["epoch", "0"]
    fit([CSVLogger(tmp_path / "other.csv", append=True)], losses(0.5))
    assert len(table(tmp_path / "other.csv")) == 2


def test_a_file_that_is_no_table_is_not_continued(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("my notes\n")
    with pytest.raises(ArgumentError, match="not a table of epochs"):
        fit([CSVLogger(path, append=True)], losses(0.5))
    assert path.read_text() == "my notes\n"


def test_values_with_axes_and_numpy_numbers_are_written_plainly(tmp_path):
    path = tmp_path / "log.csv"
    logs = {"loss": np.float32(0.5), "f1": np.array([0.5, 0.25]), "note": "a,b", "best": None}
    fit([CSVLogger(path)], [logs])
    assert table(path) == [
        ["epoch", "best", "f1", "loss", "note"], ["0", "", "[0.5, 0.25]", "0.5", "a,b"],
    ]  # fmt: skip


# ---- checkpoints -------------------------------------------------------------------------------


def test_a_checkpoint_each_epoch_has_its_name(tmp_path):
    path = tmp_path / "run" / "{epoch:02d}-{val_loss:.2f}.keras"
    model = fit([ModelCheckpoint(path)], losses(0.5, 0.25)).model
    assert model.saved == [str(tmp_path / "run" / n) for n in ("01-0.50.keras", "02-0.25.keras")]
    assert (tmp_path / "run").is_dir()


def test_only_the_best_is_saved(capsys):
    checkpoint = ModelCheckpoint("{epoch}.keras", save_best_only=True, verbose=1)
    assert fit([checkpoint], losses(0.5, 0.75, 0.25, 0.25)).model.saved == ["1.keras", "3.keras"]
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 1: val_loss improved to 0.5; saved to 1.keras.",
        "Epoch 2: val_loss did not improve from 0.5.",
        "Epoch 3: val_loss improved from 0.5 to 0.25; saved to 3.keras.",
        "Epoch 4: val_loss did not improve from 0.25.",
    ]
    threshold = ModelCheckpoint(
        "{epoch}.keras", "val_accuracy", save_best_only=True, initial_value_threshold=0.6
    )
    assert fit([threshold], losses(0.5, 0.7, name="val_accuracy")).model.saved == ["2.keras"]


def test_weights_only_and_every_so_many_steps():
    checkpoint = ModelCheckpoint("{epoch}-{batch}.weights.h5", save_weights_only=True, save_freq=3)
    assert fit([checkpoint], losses(1, 1), steps=4).model.saved == [
        "weights:1-3.weights.h5", "weights:2-2.weights.h5",
    ]  # fmt: skip


def test_checkpoints_remember_the_best_when_resumed():
    first = ModelCheckpoint("m.keras", save_best_only=True)
    fit([first], losses(0.25))
    second = ModelCheckpoint("m.keras", save_best_only=True)
    second.set_state(first.get_state())
    assert fit([second], losses(0.5)).model.saved == []


def test_checkpoint_arguments_are_checked_before_training():
    with pytest.raises(ArgumentError, match=r"must end in '.weights.h5' or .*Received: 'm.keras'"):
        ModelCheckpoint("m.keras", save_weights_only=True)
    with pytest.raises(
        ArgumentError, match=r"must end in '.keras' or '.h5' or.* Received: 'm.ckpt'"
    ):
        ModelCheckpoint("m.ckpt")
    with pytest.raises(
        ArgumentError, match=r"(?s)must end in '\.keras' or '\.h5'.*for save_weights_only=True"
    ):
        ModelCheckpoint("m.weights.h5")
    ModelCheckpoint("m.h5")
    with pytest.raises(ArgumentError, match="`save_freq` must be 'epoch' or a positive number"):
        ModelCheckpoint("m.keras", save_freq="batch")
    with pytest.raises(
        UnknownNameError, match=r"contains 'val_acc'.*may contain: \['loss', 'val_loss'"
    ):
        fit([ModelCheckpoint("{val_acc}.keras")], losses(1))
    for path in ("{loss:d}.keras", "{}.keras", "{loss", "{loss.x}.keras"):
        with pytest.raises(ArgumentError, match="is no format for the logs"):
            fit([ModelCheckpoint(path + ".keras")], losses(1))


# ---- the oracle --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keras():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "jax")
        return pytest.importorskip("keras")


SEQUENCES = [np.random.default_rng(seed).choice(6, 14) / 4 for seed in range(12)]


def run_alike(ours, theirs, values, watch):
    """Drive one of ours and one of Keras's side by side; they must agree after each epoch."""
    models = Model(), Model()
    for callback, model in zip((ours, theirs), models, strict=True):
        callback.set_model(model)
        callback.on_train_begin()
    for epoch, value in enumerate(values):
        for callback, model in zip((ours, theirs), models, strict=True):
            callback.on_epoch_end(epoch, {"val_loss": float(value)})
            model.weights += 1
        assert watch(models[0]) == watch(models[1]), f"after epoch {epoch} of {values}"
        if models[0].stop_training:
            break


@pytest.mark.parametrize(
    "options",
    [
        {}, {"patience": 2}, {"patience": 3, "min_delta": 0.3}, {"patience": 1, "baseline": 0.4},
        {"patience": 4, "baseline": 0.8, "mode": "max"}, {"start_from_epoch": 4, "patience": 2},
    ],
)  # fmt: skip
def test_early_stopping_decides_like_keras(keras, options):
    for values in SEQUENCES:
        run_alike(
            EarlyStopping(**options), keras.callbacks.EarlyStopping(**options), values,
            lambda model: model.stop_training,
        )  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {"patience": 1}, {"patience": 2, "factor": 0.5}, {"patience": 1, "cooldown": 2},
        {"patience": 0, "min_lr": 0.01, "mode": "max"}, {"patience": 1, "min_delta": 0.5},
    ],
)  # fmt: skip
def test_plateaus_are_found_like_keras_finds_them(keras, options):
    for values in SEQUENCES:
        run_alike(
            ReduceLROnPlateau(**options), keras.callbacks.ReduceLROnPlateau(**options), values,
            lambda model: pytest.approx(float(model.optimizer.learning_rate), rel=1e-5),
        )  # fmt: skip
