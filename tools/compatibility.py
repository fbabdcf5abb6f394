"""The text of docs/compatibility.md: Keras's public names, and what Lamina has of each."""

from __future__ import annotations

from lamina.alias.messages import reason
from lamina.alias.tables import KERAS_VERSION, PRIVATE, PRIVATE_ATTRIBUTES
from tools import surface

_TOP = """\
# Compatibility with Keras {version}

Every public name of Keras and what Lamina has of it. The page is written by `make docs` from
the installed Keras and Lamina, and a test compares it with both.

* **Here**: the name, with all parameters of Keras in the same order and with the same defaults.
* **Differs**: the name is here, and the parameters or members listed are not, or are otherwise.
* **Not yet**: absent. Using it raises an error that says so.
* **Not planned**: absent, with the reason.

`python -m lamina run program.py` runs programs that say `import keras`.

| Module | Here | Differs | Not yet | Not planned |
|---|---:|---:|---:|---:|
"""

_PRIVATE = """
## Private names

`keras.src` is private to Keras. Libraries on top of it use some names all the same, which
`python -m lamina run` and `alias_keras()` have; `make test-clients` runs these libraries.

| Private | Here |
|---|---|
"""


def page(found: surface.Gaps) -> str:
    """The page, from the gaps that were found."""
    rows, sections = [], []
    total = [0, 0, 0, 0]
    for path, module in surface.modules().items():
        groups = _grouped(path, surface.names(path, module), found.get(path, {}))
        counts = [len(group) for group in groups]
        total = [a + b for a, b in zip(total, counts, strict=True)]
        rows.append(_row(f"[`{path}`](#{path.replace('.', '')})", counts))
        sections.append(_section(path, groups, found.get(path, {})))
    rows.append(_row("**all**", total))
    top = _TOP.format(version=KERAS_VERSION)
    return top + "\n".join([*rows, ""]) + "".join(sections) + _private()


def _private() -> str:
    """The names private to Keras that the alias has, since libraries use them."""
    parts = [_PRIVATE]
    for path, (public, names) in PRIVATE.items():
        has = [f"all of `{public}`"] if public is not None else []
        parts.append(f"| `{path}` | {', '.join([*has, *(f'`{n}`' for n in names)])} |\n")
    parts += [f"| `{n}` | itself, for {library} |\n" for n, library in PRIVATE_ATTRIBUTES.items()]
    return "".join(parts)


def _row(first: str, counts: list[int]) -> str:
    return f"| {first} | {' | '.join(str(n) if n else '' for n in counts)} |"


def _grouped(path: str, names: list[str], gaps: dict[str, list[str]]) -> list[list[str]]:
    here, differs, not_yet, not_planned = [], [], [], []
    owners = {n.partition(".")[0] for n in gaps if "." in n}
    for name in names:
        if name in gaps and not gaps[name]:
            (not_yet if reason(f"{path}.{name}") is None else not_planned).append(name)
        elif name in gaps or name in owners:
            differs.append(name)
        else:
            here.append(name)
    return [here, differs, not_yet, not_planned]


def _section(path: str, groups: list[list[str]], gaps: dict[str, list[str]]) -> str:
    here, differs, not_yet, not_planned = groups
    parts = [f"\n## `{path}`\n"]
    if here:
        parts.append(f"\nHere: {_listed(here)}.\n")
    if differs:
        parts.append("\n| Differs | How |\n|---|---|\n")
        for name in differs:
            said = list(gaps.get(name, []))
            members = {n.partition(".")[2]: v for n, v in gaps.items() if n.startswith(name + ".")}
            absent: dict[str | None, list[str]] = {}
            for member in (n for n, v in members.items() if not v):
                absent.setdefault(reason(f"{path}.{name}.{member}"), []).append(member)
            for why, those in absent.items():
                count = "member" if len(those) == 1 else "members"
                said.append(f"no {count} {_listed(those)}" + (f" ({why})" if why else ""))
            said += [f"`{n}()`: {', '.join(v)}" for n, v in members.items() if v]
            parts.append(f"| `{name}` | {'; '.join(said)} |\n".replace("||", "\\|\\|"))
    if not_yet:
        parts.append(f"\nNot yet: {_listed(not_yet)}.\n")
    if not_planned:
        parts.append("\n| Not planned | Why |\n|---|---|\n")
        parts += [f"| `{n}` | {reason(f'{path}.{n}')} |\n" for n in not_planned]
    return "".join(parts)


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{n}`" for n in names)
