"""coderep: code representation learning with Hugging Face. The front door: version, public names, commands.

`import coderep` registers the model classes with transformers' Auto classes; a command is imported when it is run.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

# Module -> public names that it defines; imported on first use.
_MODULES = {
    "modeling_coderep": (
        *("CodeRepConfig", "CodeRepModel", "CodeRepForMaskedLM"),
        *("CodeRepForSequenceClassification", "CodeRepForTokenClassification"),
    ),
    "data_collators": (
        *("LANGUAGES", "MixedMaskingCollator", "PackedDocuments", "PairCollator", "Pairs"),
        *("functions", "identifiers", "train_tokenizer"),
    ),
    "data_collators.builders": (
        *("BuildOptions", "PairOptions", "SourceOptions", "build_pairs", "build_stage1", "build_tokenizer"),
    ),
    "trainers": ("ContrastiveArguments", "MlmArguments", "bimodal_contrastive_loss"),
    "trainers.encode": ("load_encoder",),
    "trainers.evaluation.mteb_model": ("mteb_encoder",),
    "trainers.onnx_encoder": ("OnnxEncoder",),
    "trainers.search": ("CodeIndex",),
    "hub_cards": (
        *("convert_checkpoint", "export_checkpoint", "export_onnx"),
        *("publish_checkpoint", "publish_run", "render_card"),
    ),
    "hub_cards.training": ("ContrastiveTrainer", "MlmTrainer", "train_contrastive", "train_mlm"),
}
_EXPORTS = {name: module for module, names in _MODULES.items() for name in names}
__all__ = ["__version__", "main", *_EXPORTS]

# Command words -> (function of the remaining arguments, what it does).
COMMANDS = {
    ("demo",): ("hub_cards.demo:main", "the whole road on this interpreter's standard library, in minutes"),
    ("data", "tokenizer"): ("data_collators.builders.cli:tokenizer", "train a tokenizer on source code"),
    ("data", "stage1"): ("hub_cards.data:stage1", "tokenize source code with its identifiers"),
    ("data", "pairs"): ("hub_cards.data:pairs", "extract text-code pairs"),
    ("data", "consistency"): ("hub_cards.data:consistency", "keep the pairs that a model finds consistent"),
    ("data", "negatives"): ("hub_cards.data:negatives", "mine hard negatives for pairs"),
    ("data", "augment"): ("hub_cards.data:augment", "add searches, renamed and twin functions to pairs"),
    ("data", "report"): ("hub_cards.data_report:main", "tables and plots of data sets"),
    ("data", "inspect"): ("data_collators.builders.cli:inspect", "show random pairs of a data set"),
    ("train", "mlm"): ("hub_cards.training:mlm", "stage 1: masked language modelling and deobfuscation"),
    ("train", "contrastive"): ("hub_cards.training:contrastive", "stage 2: bimodal contrastive learning"),
    ("train", "classify"): ("hub_cards.training:classify", "a classifier: linear probe, all weights or adapters"),
    ("train", "average"): ("trainers.averaging:main", "average the weights of encoders"),
    ("train", "distill"): ("trainers.distillation:main", "teach an encoder the embeddings of another"),
    ("train", "trim"): ("trainers.vocabulary:main", "cut a model's vocabulary to the tokens of pairs"),
    ("eval", "retrieval"): ("trainers.evaluation.cli:main", "text-to-code and code-to-code retrieval"),
    ("eval", "classify"): ("trainers.evaluation.classify_cli:main", "linear probe and fine-tuning on labelled code"),
    ("eval", "mteb"): ("trainers.evaluation.mteb_cli:main", "tasks and benchmarks of mteb"),
    ("eval", "leakage"): ("data_collators.builders.leakage:main", "what training data share with evaluation sets"),
    ("eval", "report"): ("hub_cards.eval_report:main", "one table of many results, with significance and plots"),
    ("encode",): ("trainers.encode:main", "embeddings of the lines of a JSONL file"),
    ("search",): ("trainers.search_cli:main", "search a code base by meaning"),
    ("convert",): ("hub_cards.cli:convert", "write a CodeSage checkpoint so that it loads everywhere"),
    ("export",): ("hub_cards.cli:export", "write a run's model as a folder laid out like a Hub repo"),
    ("onnx",): ("hub_cards.cli:onnx", "write ONNX files, float32 and int8, beside a checkpoint"),
    ("card", "render"): ("hub_cards.cli:card_render", "write the card of a run or of a data set"),
    ("card", "publish"): ("hub_cards.cli:card_publish", "upload a checkpoint; a dry run unless --push"),
}
# Exit code 2: the command cannot be carried out as given. Anything else that fails: 1.
_USAGE_ERRORS = (ValueError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'coderep' has no attribute {name!r}")


def usage() -> str:
    """The text of `coderep -h`."""
    lines = [f"  coderep {' '.join(words):<18} {text}" for words, (_, text) in COMMANDS.items()]
    head = [f"coderep {__version__}: code representation learning with Hugging Face", "", "commands:"]
    return "\n".join([*head, *lines, "", "`coderep <command> -h` explains a command."])


def load(target: str) -> Callable[[list[str]], int]:
    """The function that a target `module:function` names."""
    return getattr(importlib.import_module(target.split(":")[0]), target.split(":")[1])


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 1 failed, 2 usage. Errors are one line, without traceback."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"coderep {__version__}")
        return 0
    for words, (target, _) in COMMANDS.items():
        if tuple(argv[: len(words)]) == words:
            return _run(target, argv[len(words) :])
    print(f"coderep: unknown command {' '.join(argv[:2])!r}.\n\n{usage()}", file=sys.stderr)
    return 2


def _run(target: str, argv: list[str]) -> int:
    try:
        return load(target)(argv)
    except KeyboardInterrupt:
        return _fail("interrupted. The same command goes on from the last finished step.", 130)
    except Exception as error:  # whatever fails, people get one line
        if os.environ.get("CODEREP_DEBUG"):
            raise
        if _disk_full(error):
            return _fail("no space left. Free space or name another output, then run the same command.", 1)
        if isinstance(error, _USAGE_ERRORS) or type(error).__name__.startswith("StrictDataclass"):
            return _fail(str(error), 2)
        if isinstance(error, (OSError, ImportError, ArithmeticError)):
            return _fail(str(error), 1)
        return _fail(f"{type(error).__name__}: {str(error)[:300]} (CODEREP_DEBUG=1 shows where)", 1)


def _disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, is a full disk; libraries in Rust and C++ have errors of their own."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        if any(sign in str(error) for sign in ("os error 28", "os error 27", "os error 122", "unexpected pos")):
            return True
        error = error.__cause__ or error.__context__
    return False


def _fail(message: str, code: int) -> int:
    print(f"coderep: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
if __name__ != "__main__" and Path(sys.argv[0]).stem != "coderep":  # not on the command line
    importlib.import_module("modeling_coderep")
