"""How a data set was built: the command and the versions, from its stats.json."""

from __future__ import annotations

from typing import Any

from .markdown import code, count, md


def command_words(stats: dict[str, Any]) -> str:
    """The command that a record is of, as a block, with fingerprints and versions as far as it has them."""
    block = "```sh\n" + " \\\n    ".join(_command(stats)) + "\n```"
    notes = ["As the record has it; names stand for folders."]
    for step, options in (stats.get("settings") or {}).items():
        if isinstance(options, dict):
            chosen = ", ".join(f"{key} {value}" for key, value in options.items() if value is not None)
            notes.append(f"Then {code(f'coderep data {step}')} with {md(chosen, longest=None) or 'its defaults'}.")
    if (stats.get("settings") or {}).get("tokenizer"):
        notes.append(f"Fingerprint of the tokenizer: {code(stats['settings']['tokenizer'])}.")
    if stats.get("fingerprint"):
        notes.append(f"Fingerprint of the sources: {code(stats['fingerprint'])}.")
    if stats.get("seconds"):
        notes.append(f"It took {count(stats['seconds'])} s.")
    versions = [f"{name} {version}" for name, version in (stats.get("versions") or {}).items()]
    if versions:
        notes.append(f"Versions: {md(', '.join(versions), longest=None)}.")
    return f"{block}\n\n{' '.join(notes)}"


def _command(stats: dict[str, Any]) -> list[str]:
    """The words of the command, a flag with its values each."""
    settings = stats.get("settings") or {}
    words = [
        f"coderep data {_word(stats['kind'])}",
        f"--source {' '.join(map(_word, stats.get('sources') or ['SOURCE']))}",
    ]
    if stats.get("kind") == "stage1":
        words.append("--tokenizer TOKENIZER")
    if "test_share" in stats:
        words.append(f"--test-share {stats['test_share']}")
    words += [word for key, value in settings.items() if key != "tokenizer" for word in _flag(key, value)]
    record = stats.get("decontamination") or {}
    if record.get("sets"):
        words.append(f"--ngram {record.get('ngram', 13)} --decontaminate {' '.join(map(_word, record['sets']))}")
    return [*words, "--output OUTPUT"]


def _flag(key: str, value: Any) -> list[str]:
    name = f"--{key.replace('_', '-')}"
    if value is None or value is False or isinstance(value, dict):  # a step that came later
        return []
    if value is True:
        return [name]
    values = value if isinstance(value, (list, tuple)) else [value]
    return [" ".join([name, *map(_word, values)])]


def _word(value: Any) -> str:
    """A name as a word of a command; what a shell would take for more is left out."""
    return "".join(sign if sign.isalnum() or sign in "._/@:+-" else "_" for sign in str(value)) or "_"
