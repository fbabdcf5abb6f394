"""A program that tells its number in the system, and does nothing."""

import os
import signal

print(os.getpid(), flush=True)
signal.pause()
