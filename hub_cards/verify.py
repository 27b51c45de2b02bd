"""Does an exported checkpoint load elsewhere? Asked in a clean process that cannot import our packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SAMPLE = ("read a file line by line", "def area(r):\n    return 3.14159 * r**2\n", "", "x = [1, 2, 3]\n" * 200)
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
for checkpoint, auto_class, output in settings["loads"]:
    model = getattr(transformers, auto_class).from_pretrained(checkpoint, trust_remote_code=True).eval()
    assert type(model).__module__.startswith("transformers_modules."), type(model).__module__
    if auto_class == "AutoModel":
        found = model.encode(settings["texts"])
    else:
        tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
        batch = tokenizer(settings["texts"], padding=True, truncation=True, return_tensors="pt")
        with torch.no_grad():
            found = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.numpy()
    np.save(output, found, allow_pickle=False)
"""


def encode_elsewhere(checkpoint: str | Path, texts: Sequence[str]) -> Any:
    """The embeddings that `AutoModel.from_pretrained(checkpoint, trust_remote_code=True)` gives in a clean process.

    See `run_elsewhere`.
    """
    return run_elsewhere([(checkpoint, "AutoModel")], texts)[0]


def run_elsewhere(loads: Sequence[tuple[str | Path, str]], texts: Sequence[str]) -> list[Any]:
    """What `auto_class.from_pretrained(checkpoint, trust_remote_code=True)` makes of `texts` in a clean process.

    These are the embeddings for `AutoModel`, the logits of one padded batch for the classes with a head. The process
    has another working directory, its own module cache, no network, and cannot import our packages.

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


def check_export(export: str | Path, source: str | Path | None = None) -> float:
    """Compare the embeddings of an export, loaded in a clean process, with those of the model that it was made from.

    ONNX files in it are compared too: float32 by value, int8 by whether it gives numbers at all.

    Args:
        export: Folder of the export.
        source: Folder of the model; default: the export itself, loaded by the classes installed here.

    Returns:
        The largest difference.

    Raises:
        RuntimeError: It does not load there, or the embeddings are others.
    """
    import numpy as np

    from modeling_coderep import CodeRepModel

    export = Path(export)
    here = CodeRepModel.from_pretrained(source or export).eval().encode(list(SAMPLE))
    difference = float(np.abs(here - encode_elsewhere(export, SAMPLE)).max())
    if not difference <= 1e-5 * max(1.0, float(np.abs(here).max())):
        raise RuntimeError(f"the export {str(export)!r} gives other embeddings elsewhere, by up to {difference:.1e}.")
    for path in sorted(export.glob("onnx/*.onnx")):
        _check_onnx(export, path, here)
    return difference


def _check_onnx(export: Path, path: Path, here: Any) -> None:
    import numpy as np

    from trainers.onnx_encoder import OnnxEncoder

    found = OnnxEncoder(export, f"onnx/{path.name}").encode(SAMPLE)
    expected = here / np.linalg.norm(here, axis=1, keepdims=True).clip(1e-12)
    difference = float(np.abs(found - expected).max())
    # Vectors of length 1 differ by at most 2: of int8, this asks for numbers.
    if not difference <= (1e-3 if path.name == "model.onnx" else 2.0):
        raise RuntimeError(f"{str(path)!r} gives other embeddings than the model: they differ by {difference:.1e}.")
