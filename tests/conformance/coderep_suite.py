"""transformers' common model tests (`ModelTesterMixin`, `ConfigTester`) on the coderep classes, run by `run.py`.

`run.py` copies this file to tests/models/coderep/ of transformers' source distribution, where the relative imports
below lead; where it stands it cannot be imported. Each class below runs all the tests on one architecture.
"""

import unittest

import torch
from transformers.models.auto import modeling_auto
from transformers.testing_utils import torch_device

import modeling_coderep
from modeling_coderep import CodeRepConfig

from ...test_configuration_common import ConfigTester
from ...test_modeling_common import ModelTesterMixin, ids_tensor, random_attention_mask

# The common tests look a class's name up in these tables, to learn which labels it takes and whether it is a bare
# encoder. A class that is in none of them is silently tested less, so every class of ours must be in one.
TABLES = {
    "CodeRepModel": modeling_auto.MODEL_MAPPING_NAMES,
    "CodeRepForMaskedLM": modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    "CodeRepForSequenceClassification": modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    "CodeRepForTokenClassification": modeling_auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
}
CLASSES = {name: getattr(modeling_coderep, name) for name in TABLES}
for name in CLASSES:
    TABLES[name].setdefault("coderep", name)


class CodeRepModelTester:
    """A tiny configuration and a batch for it, under the names that the common tests ask for."""

    batch_size = 13
    seq_length = 7
    is_training = True
    vocab_size = 99
    hidden_size = 32
    num_hidden_layers = 2
    num_attention_heads = 4
    intermediate_size = 37
    max_position_embeddings = 64
    num_labels = 3

    def __init__(self, parent, fields):
        self.parent = parent
        self.fields = fields

    def get_config(self):
        sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        sizes = {name: getattr(self, name) for name in (*sizes, "max_position_embeddings", "num_labels")}
        return CodeRepConfig(**sizes, **self.fields)

    def prepare_config_and_inputs_for_common(self):
        shape = [self.batch_size, self.seq_length]
        inputs = {"input_ids": ids_tensor(shape, self.vocab_size), "attention_mask": random_attention_mask(shape)}
        return self.get_config(), inputs


class CodeRepTests(ModelTesterMixin):
    all_model_classes = tuple(CLASSES.values())
    # Otherwise one test would be skipped for a configuration file that does not open with a copyright line.
    test_can_init_all_missing_weights_before_2023 = True
    fields = {}

    def setUp(self):
        self.model_tester = CodeRepModelTester(self, self.fields)
        self.config_tester = ConfigTester(self, config_class=CodeRepConfig, hidden_size=48, **self.fields)

    def test_config(self):
        self.config_tester.run_common_tests()

    def test_shapes(self):
        tester = self.model_tester
        row, token = (tester.batch_size,), (tester.batch_size, tester.seq_length)
        expected = {
            "CodeRepModel": {
                "last_hidden_state": (*token, tester.hidden_size),
                "pooler_output": (*row, tester.hidden_size),
            },
            "CodeRepForMaskedLM": {"loss": (), "logits": (*token, tester.vocab_size)},
            "CodeRepForSequenceClassification": {"loss": (), "logits": (*row, tester.num_labels)},
            "CodeRepForTokenClassification": {"loss": (), "logits": (*token, tester.num_labels)},
        }
        for name, model_class in CLASSES.items():
            with self.subTest(name), torch.no_grad():
                config, inputs = tester.prepare_config_and_inputs_for_common()
                inputs = self._prepare_for_class(inputs, model_class, return_labels=True)
                outputs = model_class(config).to(torch_device).eval()(**inputs)
                self.assertEqual({key: tuple(value.shape) for key, value in outputs.items()}, expected[name])


class CodeRepAbsoluteTest(CodeRepTests, unittest.TestCase):
    fields = {"position_embedding": "absolute"}


class CodeRepRotaryTest(CodeRepTests, unittest.TestCase):
    fields = {"position_embedding": "rotary"}


class CodeRepModernTest(CodeRepTests, unittest.TestCase):
    # Every other choice the other way. A window of 2 tokens to either side is felt in rows of 7.
    fields = {
        "position_embedding": "rotary",
        "gated_mlp": True,
        "use_bias": False,
        "local_attention": 2,
        "global_attention_every": 2,
        "mlm_head": "linear",
        "pooling": "last",
    }
