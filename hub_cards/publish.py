"""Publish an exported folder: a dry run that lists what would be uploaded, unless told to push."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

# What a checkpoint folder may hold; anything else stays on this machine. No pickles.
UPLOADED = (
    "*.safetensors",
    "*.json",
    "*.py",
    "*.md",
    "*.txt",
    "*.png",
    "1_Pooling/config.json",
    "onnx/*.onnx",
    "onnx/*.onnx_data",
)


def files_to_upload(folder: str | Path) -> list[Path]:
    """The files of a checkpoint folder that belong on the Hub, relative, in order. Links out of the folder do not.

    Raises:
        FileNotFoundError: The folder is no exported checkpoint.
    """
    folder = Path(folder)
    for needed in ("config.json", "README.md"):
        if not (folder / needed).is_file():
            raise FileNotFoundError(f"{str(folder)!r} is not an exported checkpoint: it has no {needed}.")
    inside = folder.resolve()
    found = {path for pattern in UPLOADED for path in folder.glob(pattern) if path.is_file()}
    return sorted(path.relative_to(folder) for path in found if path.resolve().is_relative_to(inside))


def publish_checkpoint(folder: str | Path, repo: str, *, push: bool = False, private: bool = False) -> list[Path]:
    """Upload an exported checkpoint to a Hub repo in one commit; without `push` nothing leaves this machine.

    Returns:
        The files that were, or would be, uploaded.

    Raises:
        FileNotFoundError: The folder is no exported checkpoint.
        ValueError: `repo` is not of the form owner/name.
        OSError: The Hub refused, or there is no token.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise ValueError(f"repo must be owner/name, got {repo!r}.")
    files = files_to_upload(folder)
    if push:
        api = HfApi()
        try:
            api.create_repo(repo, private=private, exist_ok=True)
            api.upload_folder(
                repo_id=repo,
                folder_path=str(folder),
                allow_patterns=[path.as_posix() for path in files],
                commit_message="Upload coderep checkpoint",
            )
        except LocalTokenNotFoundError as error:
            raise OSError("no Hub token on this machine. Log in with `hf auth login`, then run this again.") from error
        except HfHubHTTPError as error:
            status = error.response.status_code if error.response is not None else "no answer"
            raise OSError(
                f"the Hub refused repo {repo!r} ({status}). Check the name and your token's rights."
            ) from error
    return files
