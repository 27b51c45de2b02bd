"""Licences of the repositories that data are from, as cards and their metadata name them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .markdown import count, folded, md, table

# SPDX identifier -> what the Hub calls the licence; others have no name there.
_HUB_LICENSES = {
    "afl-3.0": "afl-3.0",
    "agpl-3.0": "agpl-3.0",
    "apache-2.0": "apache-2.0",
    "artistic-2.0": "artistic-2.0",
    "bsd-2-clause": "bsd-2-clause",
    "bsd-3-clause": "bsd-3-clause",
    "bsl-1.0": "bsl-1.0",
    "cc-by-4.0": "cc-by-4.0",
    "cc-by-sa-4.0": "cc-by-sa-4.0",
    "cc0-1.0": "cc0-1.0",
    "epl-2.0": "epl-2.0",
    "gpl-2.0": "gpl-2.0",
    "gpl-3.0": "gpl-3.0",
    "isc": "isc",
    "lgpl-2.1": "lgpl-2.1",
    "lgpl-3.0": "lgpl-3.0",
    "mit": "mit",
    "mpl-2.0": "mpl-2.0",
    "ncsa": "ncsa",
    "postgresql": "postgresql",
    "unlicense": "unlicense",
    "wtfpl": "wtfpl",
    "zlib": "zlib",
}
_UNKNOWN = "not recorded"
_MOST_REPOSITORIES, _MOST_LICENSES = 300, 15


def hub_license(name: str) -> str | None:
    """What the Hub calls a licence; None if it has no name for it."""
    key = name.strip().lower().removesuffix("-only").removesuffix("-or-later")
    return _HUB_LICENSES.get(key)


def license_counts(stats: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Licence -> (repositories, files), the most files first."""
    repositories: Counter[str] = Counter()
    files: Counter[str] = Counter()
    for entry in (stats.get("repositories") or {}).values():
        name = str(entry.get("license") or _UNKNOWN)
        repositories[name] += 1
        files[name] += entry.get("files") or 0
    return {name: (repositories[name], files[name]) for name in sorted(files, key=lambda name: (-files[name], name))}


def metadata_licenses(records: list[dict[str, Any]], repo: str | None = None) -> dict[str, Any]:
    """Entries `license`, and what goes with it, of a data set's metadata.

    Named if the Hub has a name for the licence of every repository; else "other", which the card in `repo` spells out.
    """
    names = [name for stats in records for name in license_counts(stats)]
    known = sorted({found for name in names if (found := hub_license(name))})
    if known and all(hub_license(name) for name in names):
        return {"license": known[0] if len(known) == 1 else known}
    link = {"license_link": f"https://huggingface.co/datasets/{repo}#licences"} if repo else {}
    return {"license": "other", "license_name": "licences-of-the-sources", **link}


def license_words(stats: dict[str, Any]) -> str:
    """Licences, and folded the repositories; says so where the record has none."""
    counts = license_counts(stats)
    if not counts:
        return "The record names no repositories: look at the sources for their licences."
    total = sum(files for _, files in counts.values()) or 1
    shown = list(counts.items())[:_MOST_LICENSES]
    rows = [[md(name), count(repos), count(files), f"{100 * files / total:.1f}"] for name, (repos, files) in shown]
    rest = [pair for _, pair in list(counts.items())[_MOST_LICENSES:]]
    if rest:
        repos, files = (sum(pair[place] for pair in rest) for place in (0, 1))
        rows.append([f"{len(rest)} others", count(repos), count(files), f"{100 * files / total:.1f}"])
    parts = [table(["licence", "repositories", "files", "% of files"], rows), _repositories(stats)]
    return "\n\n".join(parts)


def _repositories(stats: dict[str, Any]) -> str:
    found = stats["repositories"]
    rows = [
        [md(name), md(entry.get("license") or _UNKNOWN), md(entry.get("version") or ""), count(entry.get("files") or 0)]
        for name, entry in list(found.items())[:_MOST_REPOSITORIES]
    ]
    body = table(["repository", "licence", "version", "files"], rows, text=3)
    if len(found) > len(rows):
        body += f"\n\nand {count(len(found) - len(rows))} more, in the record."
    return folded(f"{count(len(found))} repositories", body)
