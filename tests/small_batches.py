"""Batches of random tokens, and single steps of stage 2's trainer on them."""

from __future__ import annotations

import torch

from modeling_coderep import CodeRepConfig
from trainers import ContrastiveArguments, ContrastiveTrainer
from trainers.command_line import build_arguments

VOCAB = 50


def small_config(**options):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    defaults = {"vocab_size": VOCAB, "max_position_embeddings": 32, "initializer_range": 0.3}
    dropout = dict.fromkeys(("embedding_dropout", "hidden_dropout", "attention_dropout"), 0.0)
    return CodeRepConfig(**{**defaults, **sizes, **dropout, **options})


def batch_of(pairs, negatives=None, seed=0, repeats=False):
    """A batch as `PairCollator` makes it: texts of 1 to 5 tokens, codes of 1 to 13."""
    draw = torch.Generator().manual_seed(seed)
    batch = {}
    for side, count, longest in (("text", pairs, 5), ("code", pairs, 13), ("negative", negatives, 9)):
        if count is None:
            continue
        lengths = torch.randint(1, longest + 1, (count,), generator=draw)
        ids = [torch.randint(5, VOCAB, (int(length),), generator=draw) for length in lengths]
        if repeats and count > 3:
            ids[3] = ids[0]  # two pairs with the same text, or the same code
        batch[f"{side}_input_ids"] = torch.cat(ids) if ids else torch.zeros(0, dtype=torch.long)
        batch[f"{side}_lengths"] = torch.tensor([len(row) for row in ids], dtype=torch.long)
        batch[f"{side}_hash"] = torch.tensor([hash(tuple(row.tolist())) for row in ids], dtype=torch.long)
    return batch


def trainer_of(model, folder, packed=None, teacher=None, **options):
    options = {"max_text_length": 8, "max_code_length": 16, **options}
    args = build_arguments(ContrastiveArguments, {"output_dir": str(folder), "disable_tqdm": True, **options})
    trainer = ContrastiveTrainer(model=model, args=args, train_dataset=[0], teacher=teacher)
    trainer.current_gradient_accumulation_steps = 1
    trainer.packed = trainer.packed if packed is None else packed
    return trainer


def step(trainer, batch):
    """Loss and gradients of one training step."""
    model = trainer.model
    model.zero_grad()
    loss = trainer.training_step(model, dict(batch))
    return loss, {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
