"""Runs the uses of one library, on Keras or under the alias; tells what became of each as JSON.

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
    told, returned = {}, {}
    out = sys.stdout
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            uses = vars(importlib.import_module(f"tests.clients.use_{client}"))
        except Exception as e:  # noqa: BLE001  # a library may raise anything
            uses = {}
            told["import"] = last_line(e)
            if "-v" in sys.argv:
                traceback.print_exc(file=sys.__stderr__)
        for name, use in list(uses.items()):
            name = name.removeprefix("use_")
            if f"use_{name}" not in uses or (asked and name not in asked):
                continue
            try:
                returned[name] = numbers(use())
                told[name] = ""
            except Exception as e:  # noqa: BLE001
                told[name] = last_line(e)
                if "-v" in sys.argv:
                    traceback.print_exc(file=sys.__stderr__)
            jax.clear_caches()  # of compiled programs, which take gigabytes else
    print(json.dumps({"told": told, "returned": returned}), file=out)


if __name__ == "__main__":
    main()
