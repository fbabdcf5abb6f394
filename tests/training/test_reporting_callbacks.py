"""Callbacks that report elsewhere, and those that evaluate with averaged weights."""

import http.server
import json
import threading
import urllib.parse

import numpy as np
import pytest

import lamina
from lamina.callbacks import Callback, CallbackList, ProgbarLogger, RemoteMonitor, SwapEMAWeights
from lamina.errors import ArgumentError, TrainingWarning

X = np.linspace(-1, 1, 12, dtype="float32").reshape(12, 1)


def make(**options):
    model = lamina.Sequential([lamina.Input((1,)), lamina.layers.Dense(1)])
    model.compile(lamina.optimizers.SGD(0.1, **options), "mse")
    model.set_weights([np.ones((1, 1)), np.ones(1)])
    return model


# ---- RemoteMonitor -----------------------------------------------------------------------------


@pytest.fixture
def server():
    received = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            received.append((self.path, dict(self.headers), body))
            self.send_response(404 if "missing" in self.path else 200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", received
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("as_json", [False, True])
def test_logs_are_sent_to_a_server(server, as_json):
    root, received = server
    monitor = RemoteMonitor(root, headers={"X-Run": "7"}, send_as_json=as_json)
    history = make().fit(X, X, epochs=2, verbose=0, callbacks=[monitor])
    assert [path for path, _, _ in received] == ["/publish/epoch/end/"] * 2
    _, headers, body = received[1]
    assert headers["X-Run"] == "7"
    text = body if as_json else urllib.parse.parse_qs(body)["data"][0]
    assert json.loads(text) == {"epoch": 1, "loss": history.history["loss"][1]}
    kind = "application/json" if as_json else "application/x-www-form-urlencoded"
    assert headers["Content-Type"] == kind


def test_a_server_that_refuses_is_a_warning(server):
    monitor = RemoteMonitor(server[0], path="/missing")
    with pytest.warns(TrainingWarning, match=r"epoch 3 to http.*404"):
        monitor.on_epoch_end(3, {"loss": np.float32(1.0), "per_class": np.ones(2)})


def test_only_http_is_sent_to():
    with pytest.raises(ArgumentError, match="http"):
        RemoteMonitor("file:///tmp")


# ---- ProgbarLogger -----------------------------------------------------------------------------


def test_a_logger_shows_what_fit_shows_once(capsys):
    def lines(callbacks):
        make().fit(X, X, batch_size=4, epochs=2, callbacks=callbacks)
        return [line.split(" - ") for line in capsys.readouterr().out.splitlines()]

    plain, logged = lines([]), lines([ProgbarLogger()])
    assert [(x[:2], x[-1]) for x in logged] == [(x[:2], x[-1]) for x in plain]
    assert [x[0] for x in logged] == ["Epoch 1/2", "Epoch 2/2"]
    make().fit(X, X, verbose=0, callbacks=[ProgbarLogger()])
    assert capsys.readouterr().out == ""
    for verb in ("evaluate", "predict"):
        getattr(make(), verb)(*[X] * (2 if verb == "evaluate" else 1), callbacks=[ProgbarLogger()])
        assert capsys.readouterr().out.count("1/1") == 1


def test_a_loop_of_ones_own_has_history_and_progress(capsys):
    hooks = CallbackList(
        add_history=True, add_progbar=True, epochs=2, steps=3, verbose=2, model=make()
    )
    hooks.on_train_begin()
    for epoch in range(2):
        hooks.on_epoch_begin(epoch)
        for step in range(3):
            hooks.on_train_batch_end(step, {"loss": 0.5})
        hooks.on_epoch_end(epoch, {"loss": 0.5})
    hooks.on_train_end()
    assert hooks.history.history == {"loss": [0.5, 0.5]}
    assert capsys.readouterr().out.count("3/3") == 2
    assert len(CallbackList([ProgbarLogger()], add_progbar=True).callbacks) == 1


def test_a_callback_can_be_appended():
    hooks = CallbackList(model=make(), epochs=3)
    late = Callback()
    hooks.append(late)
    assert late.params == {"epochs": 3}
    assert late.model is hooks.model


# ---- SwapEMAWeights ----------------------------------------------------------------------------


class Watch(Callback):
    """Notes the weight at each event."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def note(self, *_):
        self.seen.append(float(self.model.get_weights()[0].item()))

    on_test_batch_end = note

    def on_epoch_end(self, epoch, logs=None):
        self.note()


@pytest.mark.parametrize("on_epoch", [False, True])
def test_evaluation_is_with_the_averages_and_training_without(on_epoch):
    plain, swapped = make(use_ema=True), make(use_ema=True)
    options = {"epochs": 3, "batch_size": 4, "validation_batch_size": 12, "verbose": 0}
    reference = Watch()
    plain.fit(X, X, validation_data=(X, X), callbacks=[reference], **options)
    averages = []

    class Averages(Callback):
        def on_epoch_end(self, epoch, logs=None):
            found = self.model.optimizer.moving_averages
            averages.append(float(found[self.model.trainable_variables[0]].value.item()))

    watch = Watch()
    callbacks = [SwapEMAWeights(on_epoch), watch, Averages()]
    swapped.fit(X, X, validation_data=(X, X), callbacks=callbacks, **options)
    np.testing.assert_array_equal(watch.seen[0::2], averages)  # in the validations
    after = averages if on_epoch else reference.seen[1::2]
    np.testing.assert_array_equal(watch.seen[1::2], after)
    for a, b in zip(plain.get_weights(), swapped.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)  # both have ended with the averages
    swapped.set_weights([np.zeros((1, 1)), np.zeros(1)])
    found = swapped.predict(X, verbose=0, callbacks=[SwapEMAWeights()])
    np.testing.assert_array_equal(found, plain.predict(X, verbose=0))
    assert not np.any(swapped.get_weights()[0])


def test_stopping_early_leaves_the_averages_too():
    class Stop(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    models = [make(use_ema=True), make(use_ema=True)]
    for model, more in zip(models, ([], [SwapEMAWeights(swap_on_epoch=True)]), strict=True):
        model.fit(X, X, epochs=3, verbose=0, callbacks=[*more, Stop()])
    np.testing.assert_array_equal(models[0].get_weights()[0], models[1].get_weights()[0])


def test_without_averages_there_is_nothing_to_swap():
    with pytest.raises(ArgumentError, match="use_ema=True"):
        make().evaluate(X, X, verbose=0, callbacks=[SwapEMAWeights()])
