"""Runs the programs that it is told by lines on its input, one after the other, in one process.

A line is a list in JSON: the path of a program, and its arguments. What a program prints, or the
exception that ends it, goes out as a line of JSON.
"""

import contextlib
import io
import json
import runpy
import sys
import traceback
import warnings


def run(path, *arguments):
    printed = io.StringIO()
    error = None
    sys.argv = [path, *arguments]
    try:
        with contextlib.redirect_stdout(printed):
            runpy.run_path(path, run_name="__main__")
    except Exception as e:  # noqa: BLE001  # whatever ends a program is told
        where = [f for f in traceback.extract_tb(e.__traceback__) if f.filename == path]
        line = f"line {where[-1].lineno}: {where[-1].line}" if where else ""
        error = f"{type(e).__name__}: {e}\n{line}"
    return {"printed": printed.getvalue(), "error": error}


def main():
    warnings.simplefilter("ignore")
    if sys.argv[1] == "lamina":
        import lamina

        lamina.alias_keras()
    import keras

    out = sys.stdout
    for line in sys.stdin:
        told = json.dumps(run(*json.loads(line)))
        keras.utils.clear_session()
        print(told, file=out, flush=True)


if __name__ == "__main__":
    main()
