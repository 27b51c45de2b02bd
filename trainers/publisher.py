"""Who lays out and uploads what Trainers push, and where to.

Cards and export belong to `hub_cards`, which trainers may not import, so it hands itself in: `set_publisher`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from transformers import TrainingArguments


@dataclass(frozen=True)
class Destination:
    """Where a Trainer pushes to.

    Args:
        repo: owner/name, or a name alone: the owner of the token's.
        public: Whether everybody may see it.
        revision: Branch.
        token: The token; None takes the one that is logged in.
    """

    repo: str
    public: bool = False
    revision: str = "main"
    token: str | None = field(default=None, repr=False)


class Publisher(Protocol):
    """What `hub_cards` does for a Trainer."""

    def open(self, where: Destination) -> str:
        """Make sure that the repo is there and may be written to; its full name."""

    def card(self, run: Path, repo: str) -> str:
        """The card of a run's folder."""

    def check(self, run: Path, repo: str) -> None:
        """Refuse what could not be published, from a run's folder whose model lacks its weights."""

    def lay_out(self, run: Path, output: Path, repo: str) -> None:
        """Write the model of a run's folder as the folder that goes to the Hub."""

    def push(self, folder: Path, where: Destination, message: str, state: dict[str, Path]) -> Any:
        """Upload such a folder, and the files of a training checkpoint, in one commit."""

    def publish(self, run: Path, where: Destination, message: str) -> Any:
        """`coderep card publish` of a finished run."""


_publisher: Publisher | None = None


def set_publisher(publisher: Publisher) -> None:
    """Say who lays out and uploads what Trainers push."""
    global _publisher
    _publisher = publisher


def the_publisher() -> Publisher:
    """Who does.

    Raises:
        ValueError: Nobody said.
    """
    if _publisher is None:
        raise ValueError("push_to_hub has nobody to publish: `import hub_cards.training` before.")
    return _publisher


def repo_name(args: TrainingArguments) -> str:
    """What the arguments call the repo; without a name it is that of the output folder."""
    return args.hub_model_id or Path(args.output_dir).absolute().name


def destination(
    args: TrainingArguments, repo: str, token: str | None = None, revision: str | None = None
) -> Destination:
    """Where the arguments say that a push goes; a repo is private unless `hub_private_repo` is false."""
    return Destination(repo, args.hub_private_repo is False, revision or args.hub_revision or "main", token)


def take_token(args: TrainingArguments, token: str | None = None) -> str | None:
    """The token that was given, taken out of the arguments: they are pickled into every checkpoint."""
    token, args.hub_token = token or args.hub_token, None
    return token


def open_repo(args: TrainingArguments) -> Destination:
    """The repo that the arguments name, which is there and may be written to.

    Raises:
        OSError: There is no token, or the Hub refuses or does not answer.
        ValueError: Nobody said who publishes, or the name of the repo is taken.
    """
    where = destination(args, repo_name(args), take_token(args))
    return destination(args, the_publisher().open(where), where.token)
