"""Everything that runs a model: training, encoding, search, evaluation."""

from __future__ import annotations

from .arguments import ContrastiveArguments as ContrastiveArguments
from .arguments import MlmArguments as MlmArguments
from .contrastive import train_contrastive as train_contrastive
from .contrastive_trainer import ContrastiveTrainer as ContrastiveTrainer
from .losses import bimodal_contrastive_loss as bimodal_contrastive_loss
from .mlm import MlmTrainer as MlmTrainer
from .mlm import train_mlm as train_mlm
