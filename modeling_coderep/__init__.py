"""The coderep encoder. Importing this package registers it, and CodeSage's releases, with transformers' Auto classes.

The sibling files named `*_coderep` are Hub-portable: a checkpoint carries copies of them, so it loads where this
package is not installed. This file is not copied, so no class is defined here.
"""

from __future__ import annotations

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from .codesage import CodeSageTokenizer as CodeSageTokenizer
from .codesage import register as _register_codesage
from .configuration_coderep import PRESETS as PRESETS
from .configuration_coderep import CodeRepConfig as CodeRepConfig
from .encoding_coderep import embed_padded as embed_padded
from .encoding_coderep import encode_texts as encode_texts
from .modeling_coderep import CodeRepForMaskedLM as CodeRepForMaskedLM
from .modeling_coderep import CodeRepForSequenceClassification as CodeRepForSequenceClassification
from .modeling_coderep import CodeRepForTokenClassification as CodeRepForTokenClassification
from .modeling_coderep import CodeRepModel as CodeRepModel
from .modeling_coderep import CodeRepPreTrainedModel as CodeRepPreTrainedModel
from .pooling_coderep import POOLERS as POOLERS

AutoConfig.register("coderep", CodeRepConfig, exist_ok=True)
AutoModel.register(CodeRepConfig, CodeRepModel, exist_ok=True)
AutoModelForMaskedLM.register(CodeRepConfig, CodeRepForMaskedLM, exist_ok=True)
AutoModelForSequenceClassification.register(CodeRepConfig, CodeRepForSequenceClassification, exist_ok=True)
AutoModelForTokenClassification.register(CodeRepConfig, CodeRepForTokenClassification, exist_ok=True)
_register_codesage()
