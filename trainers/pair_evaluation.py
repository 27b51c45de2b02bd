"""Evaluation of stage 2 while it trains: MRR of held-out pairs.

Shape suffixes: N = pairs of this process, M = their texts and codes, D = embedding width.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from .batch_loss import CODE, TEXT
from .embedding import mini_batches, texts_of
from .gathering import gather_rows
from .gradcache import embed_all
from .held_out import evaluation_rows
from .pair_metrics import code_ranks, mean_reciprocal_ranks

UNTRAINED_TOKENS = 8192  # of a mini-batch without a graph, where mini_batch_tokens is not given


class EvaluatesPairs:
    """Gives stage 2's Trainer its `evaluate`."""

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """MRR of each language's codes for its texts, and the mean over languages; see `pair_metrics`.

        Raises:
            ValueError: There is no evaluation data.
        """
        rows = evaluation_rows(eval_dataset, self.eval_dataset, self._eval_collator)
        rows = [rows[place] for place in range(len(rows))]
        names = sorted({row.get("language") or "" for row in rows})
        own = rows[self.accelerator.process_index :: self.accelerator.num_processes]
        inputs = self._prepare_inputs(self._eval_collator(own or rows[:1]))
        inputs["language"] = torch.tensor(
            [names.index(row.get("language") or "") for row in own], device=self.args.device
        )
        text_ND, code_ND = self._encode(inputs)
        columns = (text_ND, code_ND, inputs["text_hash"], inputs["code_hash"], inputs["language"])
        text_ND, code_ND, *keys = [gather_rows(self.accelerator, column[: len(own)])[0] for column in columns]
        ranks_N, _ = code_ranks(text_ND, code_ND, torch.arange(len(text_ND), device=text_ND.device), *keys)
        metrics = mean_reciprocal_ranks(ranks_N, keys[-1], names, metric_key_prefix)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _encode(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Embeddings of texts and codes, without dropout."""
        lengths = [inputs[f"{side}_lengths"] for side in (TEXT, CODE)]
        batches = mini_batches(lengths, self.args.mini_batch_tokens or UNTRAINED_TOKENS, self.packed)
        training = self.model.training
        self.model.eval()
        embed = partial(self._embed, self.model, texts_of(inputs, [TEXT, CODE]))
        items_MD = embed_all(embed, batches, self._idle(len(batches)))
        self.model.train(training)
        return items_MD.split([len(lengths_N) for lengths_N in lengths])
