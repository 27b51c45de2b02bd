"""Loading exported checkpoints elsewhere: in a clean process that cannot import our packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

OUR_PACKAGES = ("coderep", "modeling_coderep", "data_collators", "trainers", "hub_cards")

_CHILD = """
import importlib.abc, json, sys
import numpy as np

settings = json.loads(sys.stdin.read())

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in settings["absent"]:
            raise ModuleNotFoundError(f"No module named {name!r} (kept out on purpose)", name=name)

sys.meta_path.insert(0, Absent())
import torch
import transformers

torch.set_num_threads(settings["threads"])

def tokens(checkpoint):
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)
    batch = tokenizer(settings["texts"], padding=True, padding_side="right", truncation=True, return_tensors="pt")
    return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}

def pooled(states, mask, pooling):
    if pooling == "cls":
        return states[:, 0]
    if pooling == "last":
        return states[torch.arange(len(states)), mask.sum(1).clamp(min=1) - 1]
    return (states * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)

for checkpoint, auto_class, output in settings["loads"]:
    if auto_class == "SentenceTransformer":
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(checkpoint, trust_remote_code=True, device="cpu")
        np.save(output, model.encode(settings["texts"], prompt=""), allow_pickle=False)
        continue
    model = getattr(transformers, auto_class).from_pretrained(checkpoint, trust_remote_code=True).eval()
    module, ours = type(model).__module__, model.config.model_type == "coderep"
    assert module.startswith("transformers_modules." if ours else "transformers.models."), module
    if ours and auto_class == "AutoModel":
        found = model.encode(settings["texts"])
    else:
        batch = tokens(checkpoint)
        if getattr(model.config, "classifier_inputs", 1) == 2:  # each text beside itself
            batch = {name: value.unsqueeze(1).expand(-1, 2, -1) for name, value in batch.items()}
        with torch.no_grad():
            outputs = model(**batch)
            if auto_class == "AutoModel":
                pooling = getattr(model.config, "pooling", None) or "mean"
                found = pooled(outputs.last_hidden_state, batch["attention_mask"], pooling).numpy()
            else:
                found = outputs.logits.numpy()
    np.save(output, found, allow_pickle=False)
"""


def encode_elsewhere(checkpoint: str | Path, texts: Sequence[str]) -> Any:
    """The embeddings that `AutoModel.from_pretrained(checkpoint, trust_remote_code=True)` gives in a clean process.

    See `run_elsewhere`.
    """
    return run_elsewhere([(checkpoint, "AutoModel")], texts)[0]


def run_elsewhere(loads: Sequence[tuple[str | Path, str]], texts: Sequence[str]) -> list[Any]:
    """What `auto_class.from_pretrained(checkpoint, trust_remote_code=True)` makes of `texts` in a clean process.

    These are the embeddings for `AutoModel` and `SentenceTransformer`, the logits of one padded batch for the classes
    with a head. A model that is not ours is pooled there by hand, as its config names it. The process has another
    working directory, its own module cache, no network, and cannot import our packages.

    Args:
        loads: Checkpoints with the names of the auto classes that load them, one after the other.
        texts: What is encoded.

    Raises:
        RuntimeError: A checkpoint does not load there; the message holds the last line of the error.
    """
    import numpy as np
    import torch

    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(checkpoint).resolve()) for checkpoint, _ in loads]
        outputs = [str(Path(folder) / f"{number}.npy") for number in range(len(loads))]
        settings = {
            "loads": list(zip(paths, [auto_class for _, auto_class in loads], outputs, strict=True)),
            "texts": list(texts),
            "threads": torch.get_num_threads(),
            "absent": OUR_PACKAGES,
        }
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "HF_TOKEN")}
        environment |= {"HF_MODULES_CACHE": str(Path(folder) / "modules"), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", _CHILD],
            input=json.dumps(settings),
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment,
            check=False,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            named = " or ".join(dict.fromkeys(repr(str(checkpoint)) for checkpoint, _ in loads))
            raise RuntimeError(f"the checkpoint {named} does not load without coderep: {reason}")
        return [np.load(output, allow_pickle=False) for output in outputs]
