"""What a card says of the model itself: what it is, how texts become embeddings, what it is for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .markdown import code, count, listed, md
from .model_facts import ModelFacts

_POOLING = {
    "mean": "the mean over all tokens{ends}",
    "cls": "the state of the first token",
    "last": "the state of the last token",
}
_DIMS = "matryoshka_dims"
NO_DATA = "none"  # the kind of data of a step that reads none, such as an average of weights


def intro_words(facts: ModelFacts, stages: Sequence[dict[str, Any]], start: str) -> str:
    """What the model is and how it was trained, in one paragraph.

    Args:
        facts: The model.
        stages: Records of its runs, the last one last.
        start: What training started from, as a sentence; "" if from nothing.
    """
    kinds = [str(stage["data"].get("kind")) for stage in stages]
    parameters = stages[-1].get("parameters")
    number = f" with {count(parameters)} parameters" if parameters else ""
    what = "A classifier of source code" if facts.classifies else "An encoder for source code"
    parts = [
        f"{what}{number}, trained with\n[CodeSage's recipe](https://arxiv.org/abs/2402.01935): {_steps(kinds, stages)}."
    ]
    if facts.classifies:
        parts.append(f"It tells {count(len(facts.labels))} classes apart: {listed(list(map(md, facts.labels)))}.")
    return " ".join([*parts, start]).rstrip()


def _steps(kinds: Sequence[str], stages: Sequence[dict[str, Any]]) -> str:
    known = {
        "stage1": "masked language modelling mixed with identifier deobfuscation",
        "labels": "fine-tuning on labelled code",
    }
    steps = [
        md(stage["name"]) if kind == NO_DATA else known.get(kind, "contrastive learning on pairs of texts and code")
        for kind, stage in zip(kinds, stages, strict=True)
    ]
    return ", then ".join(dict.fromkeys(steps))


def last_kind(stages: Sequence[dict[str, Any]]) -> str:
    """Kind of the data that a model was last trained on."""
    kinds = [str(stage["data"].get("kind")) for stage in stages]
    return next((kind for kind in reversed(kinds) if kind != NO_DATA), NO_DATA)


def handling_words(facts: ModelFacts, stages: Sequence[dict[str, Any]]) -> str:
    """What somebody who loads the model has to know: whose code runs, how texts are cut and pooled.

    Args:
        facts: The model.
        stages: Records of its runs, the last one last.
    """
    parts = [_code_words(facts), _embedding_words(facts)]
    if facts.stored in ("bfloat16", "float16"):
        parts.append(f"The weights are stored in {facts.stored} and load as float32; `dtype=` loads them otherwise.")
    dims = next((stage["recipe"][_DIMS] for stage in reversed(stages) if stage["recipe"].get(_DIMS)), None)
    if dims and not facts.classifies:
        parts.append(_matryoshka_words(dims))
    return "\n\n".join(" ".join(part.split()) for part in parts)


def _code_words(facts: ModelFacts) -> str:
    stay = "To stay with one version, give `revision=` and a commit of this repo."
    if facts.own_code:
        return (
            "`trust_remote_code=True` runs the model code in this repo; with coderep installed, `import coderep` makes "
            f"it unnecessary. {stay}"
        )
    name = code(facts.architecture or facts.kind)
    return f"The model is transformers' own {name}: nothing from this repo is run. {stay}"


def _embedding_words(facts: ModelFacts) -> str:
    length = f" at {count(facts.max_length)} tokens" if facts.max_length else ""
    cut = f"Texts are cut{length}"
    if facts.own_code:
        cut = f"The tokenizer appends EOS itself and keeps it when a text is cut{length}"
    if facts.classifies:
        return f"{cut}. Scores are those of one class against the others: they add up to 1 after a softmax."
    ends = ", EOS included" if facts.own_code else ", those that the tokenizer adds included"
    pooled = _POOLING[facts.pooling].format(ends=ends)
    words = f"{cut}; embeddings are {pooled}, and are compared by cosine."
    starts = {side: code(json.dumps(start)) for side, start in facts.prompts.items()}
    if starts:
        said = " and ".join(f"a {side} begins with {start}" for side, start in starts.items())
        words += f" As in training, {said}."
    return words


def _matryoshka_words(dims: Sequence[int]) -> str:
    small = sorted(dims)[0]
    return (
        f"It was also trained to be used with the first {listed([count(size) for size in sorted(dims)])} dimensions "
        f"alone, scaled to length 1: `SentenceTransformer(..., truncate_dim={small})`."
    )


def purpose_words(facts: ModelFacts, languages: str) -> str:
    """What the model is made for and what not, the first of its limits."""
    if facts.classifies:
        return (
            "It names one of its classes for whatever it is given, also for code unlike that of its training: a score "
            "is no probability that it is right, and nothing replaces a person's look where that matters."
        )
    where = f" in {languages}" if languages else ""
    return (
        f"It is made to compare code and descriptions of code{where}. It writes no code, answers no questions, and "
        "says nothing about whether code is right, safe or fast: a near function may be wrong."
    )
