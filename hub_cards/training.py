"""Training with the Hub: the Trainers and their commands, with `hub_cards` to publish what they push.

Importing this imports torch; `hub_cards` itself does not.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from huggingface_hub import HfApi

from trainers import ContrastiveTrainer as ContrastiveTrainer
from trainers import MlmTrainer as MlmTrainer
from trainers import train_contrastive as train_contrastive
from trainers import train_mlm as train_mlm
from trainers.publisher import Destination, set_publisher

from .data import CARD
from .export import check_exportable
from .layout import ModelOptions, lay_out
from .publish import Publication, publish_run
from .publish_errors import explained, redacted_logs
from .publish_files import MODEL, check_text, sort_files, state_files
from .publish_plan import check_repo
from .publish_repo import HubRepo, Pushed, Target
from .render import CardOptions, render_card


class HubPublisher:
    """Lays out and uploads what Trainers push, as `coderep card publish` does."""

    def open(self, where: Destination) -> str:
        """Make sure that the repo is there and may be written to; its full name.

        Raises:
            ValueError: It is no name of a repo, or taken.
            PublishError: There is no token, or the Hub refuses or does not answer.
        """
        with redacted_logs():
            if "/" not in where.repo:
                owner = explained(lambda: HfApi(token=where.token).whoami()["name"], where.repo)
                where = replace(where, repo=f"{owner}/{where.repo}")
            check_repo(where.repo)
            HubRepo(_target(where))
        return where.repo

    def card(self, run: Path, repo: str) -> str:
        """The card of a run's folder."""
        return render_card(run, options=CardOptions(repo=repo))

    def check(self, run: Path, repo: str) -> None:
        """Refuse, before training, a model that could not be published, from its folder without weights and the record.

        Raises:
            FileNotFoundError: The tokenizer has no file that others can read.
            ValueError: The model cannot be exported, or its card cannot be written.
        """
        check_exportable(run / "model")
        check_text(render_card(run, options=CardOptions(repo=repo)), CARD)

    def lay_out(self, run: Path, output: Path, repo: str) -> None:
        """Write the model of a run's folder as the folder that goes to the Hub."""
        lay_out(run, run / "model", output, ModelOptions(card=CardOptions(repo=repo)))

    def push(self, folder: Path, where: Destination, message: str, state: dict[str, Path]) -> Pushed:
        """Upload such a folder, and the files of a training checkpoint, in one commit.

        Args:
            folder: The folder.
            where: The repo.
            message: Of the commit.
            state: Path in the repo -> file of a training checkpoint.

        Raises:
            PublishError: The Hub refused or did not answer.
            ValueError: A file may not leave this machine.
        """
        with redacted_logs():
            files, _ = sort_files(folder, MODEL)
            files += state_files(state)
            return HubRepo(_target(where)).push(files, message)

    def publish(self, run: Path, where: Destination, message: str) -> Publication:
        """`coderep card publish` of a finished run."""
        target = _target(where)
        return publish_run(
            run,
            target.repo,
            push=True,
            public=target.public,
            revision=target.revision,
            token=target.token,
            message=message,
        )


def _target(where: Destination) -> Target:
    return Target(where.repo, MODEL, where.revision, where.public, where.token)


set_publisher(HubPublisher())


def mlm(argv: list[str]) -> int:
    """`coderep train mlm`."""
    from trainers.mlm import main

    return main(argv)


def contrastive(argv: list[str]) -> int:
    """`coderep train contrastive`."""
    from trainers.contrastive import main

    return main(argv)


def classify(argv: list[str]) -> int:
    """`coderep train classify`."""
    from trainers.classify import main

    return main(argv)
