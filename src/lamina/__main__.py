"""``python -m lamina``: see :mod:`lamina.cli`."""

import sys

from lamina.cli import main

sys.exit(main())
