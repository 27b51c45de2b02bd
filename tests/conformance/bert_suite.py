"""The same common tests on transformers' own BERT: what this harness gives for classes that conform by definition."""

import unittest

import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)
from transformers.testing_utils import torch_device

from ...test_configuration_common import ConfigTester
from ...test_modeling_common import ModelTesterMixin, ids_tensor, random_attention_mask


class BertModelTester:
    """A tiny BERT and a batch for it, in the sizes of the coderep tester."""

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

    def __init__(self, parent):
        self.parent = parent

    def get_config(self):
        sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        return BertConfig(**{name: getattr(self, name) for name in (*sizes, "max_position_embeddings", "num_labels")})

    def prepare_config_and_inputs_for_common(self):
        shape = [self.batch_size, self.seq_length]
        inputs = {"input_ids": ids_tensor(shape, self.vocab_size), "attention_mask": random_attention_mask(shape)}
        return self.get_config(), inputs


class BertTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (BertModel, BertForMaskedLM, BertForSequenceClassification, BertForTokenClassification)

    def setUp(self):
        self.model_tester = BertModelTester(self)
        self.config_tester = ConfigTester(self, config_class=BertConfig, hidden_size=48)

    def test_config(self):
        self.config_tester.run_common_tests()

    def test_shapes(self):
        tester = self.model_tester
        row, token = (tester.batch_size,), (tester.batch_size, tester.seq_length)
        expected = {
            BertModel: {"last_hidden_state": (*token, tester.hidden_size), "pooler_output": (*row, tester.hidden_size)},
            BertForMaskedLM: {"loss": (), "logits": (*token, tester.vocab_size)},
            BertForSequenceClassification: {"loss": (), "logits": (*row, tester.num_labels)},
            BertForTokenClassification: {"loss": (), "logits": (*token, tester.num_labels)},
        }
        for model_class, shapes in expected.items():
            with self.subTest(model_class.__name__), torch.no_grad():
                config, inputs = tester.prepare_config_and_inputs_for_common()
                inputs = self._prepare_for_class(inputs, model_class, return_labels=True)
                outputs = model_class(config).to(torch_device).eval()(**inputs)
                self.assertEqual({key: tuple(value.shape) for key, value in outputs.items()}, shapes)
