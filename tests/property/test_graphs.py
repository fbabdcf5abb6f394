"""Laws of random graphs: what builds, runs, as promised; what runs, builds; files keep it all.

``LAMINA_GRAPHS=2000`` draws so many graphs, others at each run; what was drawn is counted at the
end of the report. Otherwise a few are drawn, always the same.
"""

import os
import tempfile
import warnings
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
from hypothesis import HealthCheck, Phase, given, settings

import lamina
from lamina.errors import MaskWarning
from lamina.tree import nested
from tests.property.programs import SIZES, Program, abstractly, arrays, computation

GRAPHS = int(os.environ.get("LAMINA_GRAPHS", "8"))
FILE_EVERY, RUN_EVERY = 5, 20


def drawn(tape) -> tuple[Program, lamina.Model]:
    """The program that these numbers decide on, and its model."""
    lamina.utils.clear_session()
    numbers = (a * 256 + b for a, b in zip(tape[::2], tape[1::2], strict=False))
    program = Program(numbers)
    try:
        program.grow(1 + program.choose(range(14)))
        return program, program.model("model")
    finally:
        hypothesis.note(program.text)


def check(program, model, to_file, run) -> None:
    for i, sizes in enumerate(SIZES):
        specs = [t.concrete[i] for t in program.inputs]
        got = abstractly(lambda *xs: model(program.feed(list(xs))), specs)
        want = [t.concrete[i] for t in nested.flatten(program.output_structure)]
        assert got == want, f"the model gives {got}, its statements give {want} for {sizes}"
    specs = [t.concrete[0] for t in program.inputs]
    graph = computation(model, lambda xs: model(program.feed(xs)), specs)
    assert graph == computation(model, program.compose, specs), "the graph is another computation"
    if to_file:
        again = reload_and_compare(program, model, specs, graph)
        if run:
            run_and_compare(program, model, again, specs)


def reload_and_compare(program, model, specs, graph):
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        again = lamina.saving.load_model(Path(folder) / "model.keras")
    assert graph == computation(again, lambda xs: again(program.feed(xs)), specs)
    ours, theirs = model.named_variables(), again.named_variables()
    assert list(ours) == list(theirs)
    for address, (variable, trains) in ours.items():
        np.testing.assert_array_equal(variable.numpy(), theirs[address][0].numpy(), address)
        assert trains == theirs[address][1]
    return again


def run_and_compare(program, model, again, specs) -> None:
    data = arrays(specs)
    want = [np.asarray(x) for x in program.compose(data)]
    one, other = (nested.flatten(m.predict(program.feed(data), verbose=0)) for m in (model, again))
    for a, b, c in zip(want, one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(b, c)


def test_random_graphs(record_property):
    counts = {"graphs": 0, "statements": 0, "nodes": 0, "through files": 0, "run on numbers": 0}

    @settings(
        max_examples=GRAPHS, deadline=None, derandomize="LAMINA_GRAPHS" not in os.environ,
        database=None, print_blob=False, suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )  # fmt: skip
    @given(st.integers(0, RUN_EVERY - 1), st.binary(min_size=300))
    def law(turn, tape):
        to_file, run = turn % FILE_EVERY == 0, turn == 0
        if counts["graphs"] % 200 == 199:
            jax.clear_caches()  # which otherwise keep every program of every graph
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MaskWarning)
            program, model = drawn(tape)
            check(program, model, to_file, run)
        nodes = len(model.layer_graph.nodes)
        found = (1, len(program.statements), nodes, to_file, run)
        for what, n in zip(counts, found, strict=True):
            counts[what] += n

    law()
    record_property("random graphs", counts)
