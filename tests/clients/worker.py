"""Runs the uses of one library, on Keras or under the alias; tells what became of each as JSON."""

import contextlib
import importlib
import io
import json
import sys
import traceback
import warnings


def last_line(e):
    lines = str(e).strip().splitlines() or [""]
    return f"{type(e).__name__}: {lines[0]}"


def main():
    warnings.simplefilter("ignore")
    library, client = sys.argv[1:]
    if library == "lamina":
        import lamina

        lamina.alias_keras()
    told = {}
    out = sys.stdout
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            uses = vars(importlib.import_module(f"tests.clients.use_{client}"))
        except Exception as e:  # noqa: BLE001  # a library may raise anything
            uses = {}
            told["import"] = last_line(e)
        for name, use in list(uses.items()):
            if not name.startswith("use_"):
                continue
            try:
                use()
                told[name.removeprefix("use_")] = ""
            except Exception as e:  # noqa: BLE001
                told[name.removeprefix("use_")] = last_line(e)
                if "-v" in sys.argv:
                    traceback.print_exc(file=sys.__stderr__)
    print(json.dumps(told), file=out)


if __name__ == "__main__":
    main()
