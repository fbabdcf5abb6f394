"""Where worker processes find Keras's name.

A process that `multiprocessing` or `joblib` spawns inherits `sys.path` and no import hook, so the
hook puts this folder on the path.
"""

import importlib
import sys

import lamina

del sys.modules["keras"]  # this module, whose place the alias takes
lamina.alias_keras()
importlib.import_module("keras")
