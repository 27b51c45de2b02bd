"""Publish a run, an exported checkpoint or data sets: a dry run that says what would go, unless told to push."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .layout import ModelOptions
from .publish_errors import redacted_logs
from .publish_files import MODEL
from .publish_plan import Plan, make_plan
from .publish_repo import MAIN, HubRepo, Pushed, Target, check_token
from .verify import check_export

_NAMED = 10  # files that stay here


@dataclass(frozen=True)
class Publication:
    """What goes to the Hub, and what became of it.

    Args:
        plan: What goes.
        pushed: What the push did; None after a dry run.
    """

    plan: Plan
    pushed: Pushed | None = None


def publish_run(
    run: str | Path | Sequence[str | Path],
    repo: str,
    *,
    push: bool = False,
    public: bool = False,
    revision: str = MAIN,
    options: ModelOptions | None = None,
    card: str | Path | None = None,
    check: bool = True,
    overwrite: bool = False,
    token: str | None = None,
    message: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Publication:
    """Upload a run's model, an exported checkpoint or data sets in one commit; nothing leaves without `push`.

    Args:
        run: Folder of a run (run.json and a model), of an exported checkpoint, or of a data set (stats.json); several
            data sets share a repo.
        repo: owner/name on the Hub.
        push: Really upload.
        public: Let everybody see a repo that is created, or push to one that everybody sees.
        revision: Branch to commit to; created if need be.
        options: How a run's model is laid out.
        card: File that goes as the card; default: one is written from the records.
        check: Load the model in a clean process first and compare its embeddings.
        overwrite: Replace files that somebody changed on the Hub since the last push from this folder.
        token: The Hub token; default: the one that is logged in.
        message: Of the commit.
        say: Told of each step.

    Raises:
        FileNotFoundError: The folder is none of these.
        ValueError: `repo` is not owner/name, or is taken; or a file may not leave this machine.
        PublishError: The Hub refused or did not answer.
        RuntimeError: The export does not load elsewhere, or to other embeddings.
    """
    with redacted_logs():
        plan = make_plan(run, repo, options, card, say)
        if not push:
            return Publication(plan)
        check_token(repo, token)  # before the work of looking at the export
        if check and plan.kind == MODEL:
            say("loading the export in a process without coderep")
            check_export(plan.folder, plan.model)
        say(f"opening {repo}")
        hub = HubRepo(Target(repo, plan.kind, revision, public, token))
        if not overwrite:
            hub.check_untouched(plan.run, plan.files)
        say(f"uploading to {repo} ({'private' if hub.private else 'public'}), branch {revision}")
        pushed = hub.push(plan.files, message or f"Upload {plan.kind} with coderep")
        hub.remember(plan.run, plan.files)
        return Publication(plan, pushed)


def publish_checkpoint(folder: str | Path, repo: str, *, push: bool = False, private: bool = True) -> list[Path]:
    """`publish_run` for an exported checkpoint, without options; returns the files that were, or would be, uploaded."""
    return [Path(file.path) for file in publish_run(folder, repo, push=push, public=not private).plan.files]


def describe(done: Publication, revision: str = MAIN, public: bool = False) -> list[str]:
    """What was, or would be, done, in lines for people."""
    plan, pushed = done.plan, done.pushed
    total = f"{sum(file.size for file in plan.files):,}"
    lines = [f"{file.size:>14,}  {file.path}" for file in plan.files]
    lines.append(f"{total:>14}  {len(plan.files)} files in all")
    if plan.stays:
        more = f" and {len(plan.stays) - _NAMED:,} more" if len(plan.stays) > _NAMED else ""
        lines.append(f"stays here, no part of a {plan.kind}: {', '.join(plan.stays[:_NAMED])}{more}")
    if pushed is None:
        seen = "public: everybody will see it" if public else "private: only you will see it; --public opens it"
        lines.append(f"would go to {plan.kind} repo {plan.repo}, branch {revision}, {seen}")
        return [*lines, "Dry run: nothing left this machine. Add --push to upload."]
    if pushed.removed:
        lines.append(f"removed from the repo, of an earlier version: {', '.join(pushed.removed)}")
    seen = "private: only you see it" if pushed.private else "public: everybody sees it"
    if pushed.private and public and not pushed.created:
        seen += ", as before; open it in its settings"
    what = f"commit {pushed.commit[:12]}" if pushed.changed else f"unchanged since commit {pushed.commit[:12]}"
    return [*lines, f"{pushed.url}: {what}, branch {revision}, {seen}"]
