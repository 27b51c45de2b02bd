"""Runs of stage 2 on pairs of the standard library."""

from __future__ import annotations

import pytest
import torch

MODEL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "initializer_range": 0.1,
}


def train_argv(stage2, output, pairs, *more, model="model"):
    """`pairs` of each batch of a process."""
    data = ["--data", str(stage2 / "pairs"), "--model", str(stage2 / model), "--output_dir", str(output)]
    sizes = ["--max_text_length", "12", "--max_code_length", "24", "--per_device_train_batch_size", str(pairs)]
    return ["train", "contrastive", *data, *sizes, "--logging_steps", "1", "--hard_positive_rate", "0.5", *more]


@pytest.fixture(scope="session")
def stage2(tmp_path_factory, corpus, stage1):
    """A folder with `pairs`, and a new `model` without dropout and one with, `dropout`, each with its tokenizer."""
    from transformers import AutoTokenizer

    import coderep
    from modeling_coderep import CodeRepConfig, CodeRepModel

    folder = tmp_path_factory.mktemp("stage 2")
    source = ["--source", str(corpus), "--output", str(folder / "pairs")]
    assert coderep.main(["data", "pairs", *source, "--test-share", "0.3"]) == 0
    tokenizer = AutoTokenizer.from_pretrained(stage1 / "tokenizer")
    for name, rate in (("model", 0.0), ("dropout", 0.1)):
        torch.manual_seed(0)
        rates = dict.fromkeys(("embedding_dropout", "hidden_dropout", "attention_dropout"), rate)
        CodeRepModel(CodeRepConfig(vocab_size=len(tokenizer), **MODEL, **rates)).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder
