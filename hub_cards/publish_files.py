"""Which files of a folder go to the Hub, and which never do: pickles, links to elsewhere, anything with a token in it.

What does not belong to a checkpoint or data set stays on this machine and is named; what would be dangerous stops the
whole publication, so that nobody takes a repo for complete that is not.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from .publish_errors import holds_token
from .publish_shards import check_shard

MODEL, DATASET = "model", "dataset"
RECORD = "published.json"  # what was pushed from here, for this machine alone
# What goes to the Hub. A pattern without a slash speaks of the top folder alone.
GOES = {
    MODEL: (
        *("*.safetensors", "*.json", "*.py", "*.md", "*.txt", "*.png"),
        *("[0-9]_*/config.json", "onnx/*.onnx", "onnx/*.onnx_data", "images/*.png"),
    ),
    DATASET: ("*.parquet", "*.json", "*.jsonl", "*.md", "*.txt", "*.png", "*/*.parquet", "images/*.png"),
}
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill")
TEXTS = (".json", ".jsonl", ".py", ".md", ".txt")
TEXT_BYTES = 50_000_000  # longer ones are data


@dataclass(frozen=True)
class File:
    """A file of a publication.

    Args:
        path: Where it goes in the repo.
        source: The file on this machine, or the content.
        mark: Size and time of change when it was looked at.
    """

    path: str
    source: Path | bytes
    mark: tuple[int, int] = (0, 0)

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.mark[0]

    def digest(self, large: bool) -> str:
        """The digest that the Hub has of a file with this content: SHA-256 of large ones, git's of the others."""
        start = b"" if large else b"blob %d\0" % self.size
        digest = hashlib.new("sha256" if large else "sha1", start, usedforsecurity=False)
        with io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()

    def changed(self) -> bool:
        """Whether the file on this machine is another one by now."""
        return isinstance(self.source, Path) and mark(self.source) != self.mark


def sort_files(folder: Path, kind: str) -> tuple[list[File], list[str]]:
    """The files of a folder that go to the Hub, in order, and the names of those that stay here.

    Raises:
        ValueError: A file is a pickle, a link to outside the folder, or holds a token.
    """
    goes, stays = [], []
    inside = folder.resolve()
    for path in _walk(folder):
        name = path.relative_to(folder).as_posix()
        if name == RECORD:
            continue
        _check_link(path, inside)
        seen = mark(path)  # before it is looked at: what changes from here on is noticed
        if reason := pickle_reason(path):
            raise ValueError(
                f"{str(path)!r} is not published: {reason}, and loading one runs whatever code is in it. "
                "Save it as safetensors, or move it out of the folder."
            )
        if not any(name.count("/") == pattern.count("/") and fnmatch(name, pattern) for pattern in GOES[kind]):
            stays.append(name)
            continue
        if path.suffix == ".parquet":
            check_shard(path)
        if path.suffix in TEXTS and path.stat().st_size <= TEXT_BYTES:
            check_text(path.read_text(encoding="utf-8", errors="replace"), str(path))
        goes.append(File(name, path, seen))
    return goes, stays


def state_files(files: Mapping[str, Path]) -> list[File]:
    """Files of a training checkpoint, by where they go; torch's own state is pickled, as Trainers keep it everywhere.

    Raises:
        ValueError: One is a link to outside of its folder, or a text of it holds a token.
    """
    found = []
    for name, path in files.items():
        _check_link(path, path.parent.resolve())
        seen = mark(path)
        if path.suffix in TEXTS:
            check_text(path.read_text(encoding="utf-8", errors="replace"), str(path))
        found.append(File(name, path, seen))
    return found


def check_links(folder: Path, run: Path) -> None:
    """Refuse a run's model with links to elsewhere, before a layout of it holds what they lead to.

    Raises:
        ValueError: A link leads neither into the model's folder nor into the run's.
    """
    for path in _walk(folder):
        _check_link(path, folder.resolve(), run.resolve())


def _check_link(path: Path, *inside: Path) -> None:
    if path.is_symlink() and not (path.exists() and any(path.resolve().is_relative_to(place) for place in inside)):
        raise ValueError(f"{str(path)!r} is a link to outside of the folder. Copy the file or remove the link.")


def check_text(text: str, name: str) -> None:
    """Refuse a text with a token in it.

    Raises:
        ValueError: There is one; the message does not repeat it.
    """
    if holds_token(text):
        raise ValueError(f"{name!r} holds a Hub token. Take it out, and make a new one: this one may be known.")


def pickle_reason(path: Path) -> str | None:
    """Why a file counts as a pickle: by its name or, whatever its name, by its first bytes; None if it does not."""
    if path.suffix.lower() in _PICKLES:
        return f"{path.suffix} files are pickles"
    with path.open("rb") as file:
        start = file.read(1024)
    if path.suffix.lower() == ".npy":
        return "it is an array of Python objects, which are pickled" if b"'|O" in start or b"'O" in start else None
    if start[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return "its content is a pickle"
    if start[:4] == b"PK\x03\x04" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith(".pkl") for name in archive.namelist()):
                return "its content is a file of torch.save, a pickle"
    return None


def _walk(folder: Path) -> list[Path]:
    """Files and links below a folder, without hidden ones, caches and what lies behind links to folders."""
    found = []
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        links = [name for name in folders if Path(where, name).is_symlink()]
        for name in links:
            if not Path(where, name).resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"{str(Path(where, name))!r} is a link to outside of the folder. Remove it.")
        found += [Path(where, name) for name in names if not name.startswith(".")]
    return sorted(path for path in found if path.is_file() or path.is_symlink())


def mark(path: Path) -> tuple[int, int]:
    """Size and time of change of a file."""
    state = path.stat()
    return state.st_size, state.st_mtime_ns
