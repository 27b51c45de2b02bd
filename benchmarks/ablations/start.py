"""The checkpoint that the runs of stage 2 start from: stage 1's, with the dropout that stage 2 is to have."""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import cache
from pathlib import Path

from data_collators.files import new_folder, write_json
from trainers.model_paths import check_checkpoint

_CONFIG = "config.json"
# Names of the rates in configs: ours, BERT's. Attention dropout costs CPUs more than half of their speed.
_RATES = ("embedding_dropout", "hidden_dropout", "hidden_dropout_prob")


def with_dropout(start: str | Path, dropout: float, folder: Path) -> Path:
    """A copy of a checkpoint whose config names a dropout: small models are pretrained without any.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        FileExistsError: `folder` holds a copy of another one, or with another dropout.
        ValueError: The dropout is out of range, or the model's config has none that we know.
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"--dropout must lie in [0, 1), got {dropout}.")
    check_checkpoint(start)
    config = json.loads(Path(start, _CONFIG).read_text(encoding="utf-8"))
    rates = [name for name in _RATES if name in config]
    if not rates:
        raise ValueError(
            f"the config of --start {str(start)!r} names no dropout ({', '.join(_RATES)}). Name a coderep or BERT one."
        )
    config |= dict.fromkeys(rates, dropout)
    if not folder.exists():
        with new_folder(folder, _CONFIG) as partial:
            shutil.copytree(start, partial, dirs_exist_ok=True)
            write_json(partial / _CONFIG, config)
    made = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    if made != config or weights_digest(folder) != weights_digest(start):
        raise FileExistsError(f"{str(folder)!r} is another checkpoint to start from. Name another --output.")
    return folder


@cache
def weights_digest(model: str | Path) -> str:
    """A name for the weights of a checkpoint."""
    state = hashlib.sha256()
    for path in sorted(Path(model).glob("*.safetensors")):
        state.update(path.read_bytes())
    return state.hexdigest()[:12]
