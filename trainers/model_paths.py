"""Which path is a model's. Apart from `checkpoints`, so that reading a model need not import training."""

from __future__ import annotations

import re
from pathlib import Path

CONFIG = "config.json"


def check_checkpoint(path: str | Path) -> str:
    """The path of a checkpoint folder, or the id of a repo on the Hub, as a string.

    Raises:
        FileNotFoundError: The path exists but is no checkpoint, or cannot be a repo id either.
    """
    folder = Path(path)
    if folder.is_dir():
        if not (folder / CONFIG).is_file():
            raise FileNotFoundError(
                f"{str(path)!r} is not a checkpoint: it has no {CONFIG}. Name a saved model's folder."
            )
    elif folder.exists() or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(path)) or str(path).startswith("."):
        raise FileNotFoundError(
            f"checkpoint {str(path)!r} is not a folder. Name a saved model's folder or a Hub repo id."
        )
    return str(path)
