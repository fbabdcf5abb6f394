"""Keeps the record of what Lamina lacks of Keras, and docs/compatibility.md.

python -m tools           # write both; refuses where Lamina has less than recorded
python -m tools --accept  # write both whatever they say: after an update of Keras
python -m tools --check   # write nothing, say what is not current
"""

from __future__ import annotations

import argparse
import sys

from tools import compatibility, surface

PAGE = surface.ROOT / "docs" / "compatibility.md"


def main() -> int:
    """Bring both files up to date, or say what is not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--accept", action="store_true", help="record new gaps too")
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    found = surface.gaps()
    worse, better = surface.compare(found, surface.recorded())
    texts = {surface.RECORD: surface.written(found), PAGE: compatibility.page(found)}
    if options.check:
        stale = [p for p, text in texts.items() if not p.exists() or p.read_text() != text]
        print("\n".join([*worse, *better, *(f"{p.name} is not current" for p in stale)]))
        return int(bool(stale))
    if worse and not options.accept:
        print("New gaps, which nothing is written for:", *worse, sep="\n  ")
        return 1
    for path, text in texts.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    print(f"{len(worse)} new gaps, {len(better)} smaller or closed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
