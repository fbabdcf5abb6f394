"""What a user sees while a model trains: on terminals, in files, in notebooks."""

import contextlib
import io
import math
import os
import re
import sys
import threading
import timeit
import types

import numpy as np
import pytest

from lamina.callbacks.progress import Progress
from lamina.errors import ArgumentError


class Clock:
    """Seconds that pass when told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    """A stream that calls itself a terminal of some width."""

    encoding = "utf-8"

    def __init__(self, width=80):
        super().__init__()
        self.width = width

    def isatty(self):
        return True


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def terminal(monkeypatch):
    def make(width=80):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERM", "xterm")
        return Terminal(width)

    return make


def screen(text):
    """The lines that a terminal would show after ``text``."""
    lines, row, column = [""], 0, 0
    for char in text:
        if char == "\n":
            lines.append("")
            row, column = row + 1, 0
        elif char == "\r":
            column = 0
        else:
            lines[row] = lines[row][:column] + char + lines[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines]


def train(progress, clock, *, steps=50, epochs=2, seconds=0.1, logs, end_logs=None, compiles=0.0):
    progress.train_begin()
    for epoch in range(epochs):
        progress.epoch_begin(epoch)
        if epoch == 0 and compiles:
            progress.compiling()
            clock.now += compiles
        for step in range(1, steps + 1):
            clock.now += seconds
            progress.update(step, lambda: logs)
        progress.epoch_end(logs if end_logs is None else end_logs)
    progress.close()


LOGS = {"accuracy": 0.90351, "loss": 0.34299}
ALL = {**LOGS, "val_accuracy": 0.95, "val_loss": 0.184}


# ---- files and pipes ---------------------------------------------------------------------------


@pytest.mark.parametrize("verbose", [1, 2, "auto"])
def test_a_file_gets_one_plain_line_an_epoch(clock, verbose):
    stream = io.StringIO()
    progress = Progress(verbose, epochs=2, steps=50, stream=stream, clock=clock)
    train(progress, clock, logs=LOGS, end_logs=ALL)
    numbers = "accuracy: 0.9035 - loss: 0.3430 - val_accuracy: 0.9500 - val_loss: 0.1840"
    assert stream.getvalue() == (
        f"Epoch 1/2 - 50/50 - 5s - 100ms/step - {numbers}\n"
        f"Epoch 2/2 - 50/50 - 5s - 100ms/step - {numbers}\n"
    )


def test_verbose_2_writes_whole_lines_on_a_terminal_too(clock, terminal):
    stream = terminal()
    train(Progress(2, 1, 50, stream=stream, clock=clock), clock, epochs=1, logs=LOGS)
    assert stream.getvalue() == "50/50 - 5s - 100ms/step - accuracy: 0.9035 - loss: 0.3430\n"


@pytest.mark.parametrize("make", [io.StringIO, Terminal])
def test_verbose_0_writes_nothing(clock, make):
    stream = make()
    train(Progress(0, 2, 50, stream=stream, clock=clock), clock, logs=LOGS, compiles=9)
    assert stream.getvalue() == ""


def test_compiling_is_told_apart_from_the_steps(clock):
    stream = io.StringIO()
    train(Progress(2, 1, 50, stream=stream, clock=clock), clock, epochs=1, logs=LOGS, compiles=65)
    assert stream.getvalue().startswith("50/50 - 5s - 100ms/step - compiled in 1:05 - accuracy")


def test_evaluation_and_prediction_have_no_epochs(clock):
    stream = io.StringIO()
    progress = Progress(2, steps=4, stream=stream, clock=clock)
    progress.epoch_begin(0)
    for step in range(1, 5):
        clock.now += 0.0004
        progress.update(step, dict)
    progress.epoch_end({})
    assert stream.getvalue() == "4/4 - 0s - 400us/step\n"


def test_without_known_steps_the_count_is_what_was_done(clock):
    stream = io.StringIO()
    train(Progress(2, 1, None, stream=stream, clock=clock), clock, steps=7, epochs=1, logs=LOGS)
    assert stream.getvalue().startswith("7/7 - 1s - 100ms/step")


# ---- terminals ---------------------------------------------------------------------------------


def test_a_terminal_shows_one_line_that_ends_complete(clock, terminal):
    stream = terminal(120)
    train(Progress(1, 2, 50, stream=stream, clock=clock), clock, logs=LOGS, compiles=4)
    bar = "━" * 20
    assert screen(stream.getvalue()) == [
        "Epoch 1/2",
        "compiled in 4s",
        f"50/50 {bar} 5s 100ms/step - accuracy: 0.9035 - loss: 0.3430",
        "Epoch 2/2",
        f"50/50 {bar} 5s 100ms/step - accuracy: 0.9035 - loss: 0.3430",
        "",
    ]


def test_the_moving_line_shows_bar_and_time_left(clock, terminal):
    stream = terminal()
    progress = Progress(1, 1, 200, stream=stream, clock=clock)
    progress.epoch_begin(0)
    clock.now += 5.0
    progress.update(50, lambda: LOGS)
    half = "━" * 4 + "─" * 14
    assert screen(stream.getvalue()) == [
        f" 50/200 {half} ETA 15s 100ms/step - accuracy: 0.9035 - loss: 0.3430"
    ]


def test_a_short_compilation_leaves_no_line(clock, terminal):
    stream = terminal()
    train(Progress(1, 1, 50, stream=stream, clock=clock), clock, epochs=1, logs=LOGS, compiles=0.2)
    assert "compiling..." in stream.getvalue()
    assert len(screen(stream.getvalue())) == 2  # the epoch, and where the cursor stands


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
@pytest.mark.parametrize("steps", [5, 750, 123_456])
def test_no_line_is_ever_wider_than_the_terminal(clock, terminal, width, steps):
    stream = terminal(width)
    progress = Progress(1, 3, steps, stream=stream, clock=clock)
    names = ["accuracy", "loss", "mean_absolute_error"]
    logs = dict.fromkeys(names, 0.5)
    progress.epoch_begin(0)
    for step in (1, steps // 2, steps):
        clock.now += 1000.0
        progress.update(step, lambda: logs)
    clock.now += 1.0
    progress.validating(3, 7)
    progress.epoch_end({**logs, **{f"val_{n}": 1e-7 for n in names}})
    longest = len("  val_mean_absolute_error: 1.0000e-07")
    for line in re.split(r"[\r\n]", stream.getvalue()):
        assert len(line.rstrip()) < max(width, longest + 1)
    final = " ".join(screen(stream.getvalue()))
    assert all(f"{n}: 0.5000" in final and f"val_{n}: 1.0000e-07" in final for n in names)


def test_the_guides_epoch_fits_one_line_of_80_columns(clock, terminal):
    stream = terminal(80)
    train(
        Progress(1, 1, 750, stream=stream, clock=clock), clock, steps=750, seconds=0.004, epochs=1,
        logs=LOGS, end_logs=ALL,
    )  # fmt: skip
    assert screen(stream.getvalue()) == [
        "750/750 3s accuracy: 0.9035 loss: 0.3430 val_accuracy: 0.9500 val_loss: 0.1840", ""
    ]  # fmt: skip


def test_the_bar_gives_way_first_then_the_pace_then_the_dashes(clock, terminal):
    def final(width):
        stream = terminal(width)
        train(Progress(1, 1, 50, stream=stream, clock=clock), clock, epochs=1, logs=LOGS)
        return screen(stream.getvalue())[:-1]

    metrics = "accuracy: 0.9035 - loss: 0.3430"
    assert final(73) == [f"50/50 {'━' * 18} 5s 100ms/step - {metrics}"]
    assert final(59) == [f"50/50 5s 100ms/step - {metrics}"]
    assert final(50) == [f"50/50 5s - {metrics}"]
    assert final(40) == ["50/50 5s accuracy: 0.9035 loss: 0.3430"]
    assert final(30) == ["50/50 5s 100ms/step", "  accuracy: 0.9035", "  loss: 0.3430"]


def test_a_shorter_line_wipes_out_a_longer_one(clock, terminal):
    stream = terminal()
    progress = Progress(1, 1, None, stream=stream, clock=clock)
    progress.epoch_begin(0)
    for step, logs in enumerate([{"loss": 1e-5}, {"loss": 0.5}, {}], 1):
        clock.now += 1.0
        progress.update(step, lambda logs=logs: logs)
    assert screen(stream.getvalue()) == ["3 3s 1s/step"]


def test_validation_takes_part_in_the_time_but_not_in_the_pace(clock, terminal):
    stream = terminal()
    progress = Progress(1, 1, 10, stream=stream, clock=clock)
    progress.epoch_begin(0)
    clock.now += 1.0
    progress.update(10, lambda: LOGS)
    progress.validating(0, 4)
    clock.now += 1.0
    progress.validating(2, 4)
    assert screen(stream.getvalue()) == ["validating 2/4"]
    clock.now += 1.0
    progress.epoch_end(LOGS)
    assert screen(stream.getvalue())[0].startswith(f"10/10 {'━' * 20} 3s 100ms/step")


def test_at_most_four_drawings_a_second_and_no_fetch_without_one(clock, terminal):
    stream, fetched = terminal(), []
    progress = Progress(1, 1, 10_000, stream=stream, clock=clock)
    progress.epoch_begin(0)
    for step in range(1, 10_001):
        clock.now += 0.001
        progress.update(step, lambda: fetched.append(1) or LOGS)
    assert 38 <= len(fetched) <= 41
    assert stream.getvalue().count("\r") == len(fetched)


def test_short_epochs_do_not_draw_more_often(clock, terminal):
    stream = terminal()
    train(
        Progress(1, 40, 10, stream=stream, clock=clock), clock, steps=10, epochs=40, seconds=0.001,
        logs=LOGS,
    )  # fmt: skip
    assert stream.getvalue().count("\r") <= 40 + 2


def test_an_update_that_is_not_due_costs_nothing_to_speak_of():
    progress = Progress(1, 1, 10**7, stream=Terminal())
    progress.epoch_begin(0)
    progress.update(1, dict)
    best = min(timeit.repeat(lambda: progress.update(2, dict), number=1000, repeat=5))
    assert best / 1000 < 5e-6  # 0.2 µs on a quiet machine


def test_a_terminal_without_line_drawing_gets_plain_signs(clock, terminal):
    stream = terminal()
    stream.encoding = "ascii"
    train(Progress(1, 1, 50, stream=stream, clock=clock), clock, epochs=1, logs={})
    assert stream.getvalue().isascii()
    assert screen(stream.getvalue())[0] == f"50/50 {'=' * 20} 5s 100ms/step"


def test_a_dumb_terminal_is_treated_like_a_file(clock, terminal, monkeypatch):
    stream = terminal()
    monkeypatch.setenv("TERM", "dumb")
    train(Progress(1, 1, 50, stream=stream, clock=clock), clock, epochs=1, logs=LOGS)
    assert "\r" not in stream.getvalue()


def test_close_ends_an_interrupted_line(clock, terminal):
    stream = terminal()
    progress = Progress(1, 1, 50, stream=stream, clock=clock)
    progress.epoch_begin(0)
    progress.update(1, lambda: LOGS)
    progress.close()
    progress.close()
    assert stream.getvalue().endswith("loss: 0.3430\n")


def test_in_a_notebook_the_line_moves(clock, monkeypatch):
    stream = io.StringIO()
    shell = types.SimpleNamespace(kernel=object())
    ipython = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setattr(sys, "stdout", stream)
    train(Progress("auto", 1, 50, clock=clock), clock, epochs=1, logs=LOGS, end_logs=ALL)
    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue().count("\r") > 10
    metrics = "accuracy: 0.9035 - loss: 0.3430 - val_accuracy: 0.9500 - val_loss: 0.1840"
    assert screen(stream.getvalue()) == [f"50/50 {'━' * 20} 5s 100ms/step - {metrics}", ""]


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals")
@pytest.mark.parametrize("width", [60, 80, 120])
def test_on_a_true_terminal(width, monkeypatch):
    import fcntl
    import struct
    import termios

    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    monkeypatch.setenv("TERM", "xterm")
    read: list[bytes] = []

    def reader():
        with contextlib.suppress(OSError):  # how a pseudo-terminal says that it was closed
            while chunk := os.read(master, 4096):
                read.append(chunk)

    thread = threading.Thread(target=reader)
    thread.start()
    clock = Clock()
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        progress = Progress(1, 2, 750, stream=stream, clock=clock)
        train(progress, clock, steps=750, seconds=0.004, logs=LOGS, end_logs=ALL, compiles=2)
    thread.join()
    os.close(master)
    text = b"".join(read).decode().replace("\r\n", "\n")
    lines = screen(text)
    assert lines[:2] == ["Epoch 1/2", "compiled in 2s"]
    assert all(len(line) < width for line in re.split(r"[\r\n]", text))
    joined = " ".join(lines)
    assert joined.count("val_loss: 0.1840") == 2
    assert lines.count("Epoch 2/2") == 1
    if width >= 80:
        assert len(lines) == 6  # two titles, the compilation, two epochs, the cursor's line


# ---- numbers and arguments ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.90351, "0.9035"), (0.001, "0.0010"), (0.00099, "9.9000e-04"), (-2e-5, "-2.0000e-05"),
        (0, "0.0000"), (12345.678, "12345.6780"), (1e20, "1.0000e+20"), (math.nan, "nan"),
        (math.inf, "inf"), (np.float32(0.25), "0.2500"),
        (np.array([0.5, 0.25]), "[0.5000, 0.2500]"),
    ],
)  # fmt: skip
def test_numbers_have_four_decimals_or_powers_of_ten(clock, value, shown):
    stream = io.StringIO()
    progress = Progress(2, 1, 1, stream=stream, clock=clock)
    progress.epoch_begin(0)
    progress.epoch_end({"x": value})
    assert stream.getvalue().endswith(f"- x: {shown}\n")


@pytest.mark.parametrize("verbose", [3, -1, "loud", None])
def test_another_verbose_is_refused(verbose):
    with pytest.raises(ArgumentError, match=r"`verbose` must be 0, 1, 2 or 'auto'. Received"):
        Progress(verbose)


def test_verbose_may_be_a_bool(clock):
    assert Progress(True, stream=io.StringIO()).verbose == 1
    assert Progress(False, stream=io.StringIO()).verbose == 0
