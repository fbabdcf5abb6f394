"""Runs the uses of one library, on Keras or under the alias; prints what became of each as JSON.

A use that raises has failed; one that returns arrays has them compared with those of the other.
"""

import contextlib
import importlib
import io
import json
import sys
import traceback
import warnings

import jax
import numpy as np


def last_line(e):
    lines = str(e).strip().splitlines() or [""]
    return f"{type(e).__name__}: {lines[0]}"


def numbers(returned):
    """The arrays of a nesting, flat, with their shapes."""
    leaves = map(np.asarray, jax.tree.leaves(returned))
    return [[list(x.shape), x.ravel().astype("float64").tolist()] for x in leaves]


def main():
    warnings.simplefilter("ignore")
    library, client, *asked = [a for a in sys.argv[1:] if a[0] != "-"]
    if library == "lamina":
        import lamina

        lamina.alias_keras()
    out = sys.stdout

    def attempt(name, use):
        error, arrays = "", None
        try:
            made = use()
            arrays = numbers(made) if name != "import" else made
        except Exception as e:  # noqa: BLE001  # a library may raise anything
            error = last_line(e)
            if "-v" in sys.argv:
                traceback.print_exc(file=sys.__stderr__)
        if error or name != "import":
            print(json.dumps([name, [error, arrays]]), file=out, flush=True)
        return arrays

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        module = f"tests.clients.use_{client}"
        uses = attempt("import", lambda: vars(importlib.import_module(module))) or {}
        for name in [n.removeprefix("use_") for n in uses if n.startswith("use_")]:
            if not asked or name in asked:
                attempt(name, uses[f"use_{name}"])
                jax.clear_caches()  # of compiled programs, which take gigabytes else


if __name__ == "__main__":
    main()
