"""Names for functions under other names: drawn from those that other functions of the language have."""

from __future__ import annotations

import random
import re

from .renaming import OwnNames, own_names, renamed

_FEWEST_NAMES = 2
_DRAWS = 30  # tries for a name of the same looks that is free
# What things are called where no other function has been seen.
_PLAIN_NAMES = ("value", "item", "data", "result", "entry", "index", "source", "target", "first", "second", "state")
_WORD = re.compile(rb"[A-Za-z_\x80-\xff][\w\x80-\xff]*")


class NamePool:
    """Names that functions of a language gave, by role: new names are drawn from them, frequent ones more often."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], list[bytes]] = {}

    def add(self, language: str, names: OwnNames) -> None:
        """Take the names of a function in."""
        for word, role in names.roles.items():
            self._names.setdefault((language, role), []).append(word)

    def draw(self, language: str, names: OwnNames, rng: random.Random) -> dict[bytes, bytes]:
        """A new name for each of a function's names: none that stands in its code, no two alike."""
        taken, new = {word.strip(b"$") for word in _WORD.findall(names.code)}, {}
        for word, role in names.roles.items():
            pool = self._names.get((language, role), [])
            new[word] = self._free(pool, word, taken, rng)
            taken.add(new[word])
        return new

    def _free(self, pool: list[bytes], word: bytes, taken: set[bytes], rng: random.Random) -> bytes:
        drawn = [rng.choice(pool) for _ in range(_DRAWS)] if pool else []
        free = [name for name in drawn if name not in taken]
        alike = [name for name in free if _looks(name) == _looks(word)]
        if alike or free:
            return (alike or free)[0]
        plain = rng.choice(_PLAIN_NAMES).encode()
        return next(name for number in range(1, len(taken) + 2) if (name := b"%s%d" % (plain, number)) not in taken)


def _looks(name: bytes) -> tuple[bool, bool]:
    """Begins with a capital (which exports it in Go), is all capitals (a constant)."""
    return name[:1].isupper(), name.isupper()


def renamed_copy(
    code: str, language: str, name: str, kind: str, pool: NamePool, rng: random.Random
) -> tuple[str, dict[str, str]]:
    """A function under names of other functions, and which name became which; "" if it has fewer than two of its own.

    Args:
        code: A function without its surroundings.
        language: Its language.
        name: Its name.
        kind: "function" or "method".
        pool: Where names come from.
        rng: What is drawn.
    """
    names = own_names(code, language, name, kind)
    if names is None or len(names.roles) < _FEWEST_NAMES:
        return "", {}
    new = pool.draw(language, names, rng)
    return renamed(names, new), {old.decode(): fresh.decode() for old, fresh in new.items()}
