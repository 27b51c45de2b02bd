"""The published CodeSage layouts: tiny checkpoints in exactly those layouts, with the published architecture's outputs.

The checkpoints lie beside the repository, under ../shared/golden; a layout of our own making stands in where that
folder is missing, so that loading is tested everywhere.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    pipeline,
)

import coderep
from hub_cards import convert_checkpoint
from hub_cards.verify import run_elsewhere
from modeling_coderep import CodeRepConfig, CodeRepForMaskedLM, CodeRepModel
from modeling_coderep.codesage import WEIGHTS

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden"
VERSIONS = ("codesage_tiny_v1", "codesage_tiny_v2")
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="../shared/golden is not here")

PUBLISHED_CONFIG = {
    "architectures": ["CodeSage"],
    "model_type": "codesage",
    "auto_map": {"AutoModel": "modeling_codesage.CodeSageModel"},
    "activation_function": "gelu_new",
    "attention_dropout_prob": 0.1,
    "embedding_dropout_prob": 0.1,
    "residual_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 24,
    "vocab_size": 50,
    "bos_token_id": 100257,
    "eos_token_id": 100257,
    "pad_token_id": 100317,
    "torch_dtype": "bfloat16",
}


def published_weights(prefix=""):
    """Random weights under the published names and in the published shapes (Conv1D: input x output)."""
    shapes = {"wte.weight": (50, 16), "wpe.weight": (24, 16), "ln_f.weight": (16,), "ln_f.bias": (16,)}
    for layer in range(2):
        for norm in ("ln_1", "ln_2"):
            shapes |= {f"h.{layer}.{norm}.{kind}": (16,) for kind in ("weight", "bias")}
        for name, inputs, outputs in (
            ("attn.c_attn", 16, 48),
            ("attn.c_proj", 16, 16),
            ("mlp.c_fc", 16, 32),
            ("mlp.c_proj", 32, 16),
        ):
            shapes |= {f"h.{layer}.{name}.weight": (inputs, outputs), f"h.{layer}.{name}.bias": (outputs,)}
    generator = torch.Generator().manual_seed(0)
    return {prefix + name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def published_encoder(weights, ids):
    """The published architecture written out in float64 with plain matrix products (arXiv 2402.01935, [H] files)."""
    w = {name.removeprefix("transformer."): value.double() for name, value in weights.items()}

    def norm(x, name):
        return torch.nn.functional.layer_norm(x, (16,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)

    def dense(x, name):
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    x = w["wte.weight"][ids] + w["wpe.weight"][: len(ids)]
    for layer in range(2):
        q, k, v = dense(norm(x, f"h.{layer}.ln_1"), f"h.{layer}.attn.c_attn").split(16, dim=-1)
        heads = [((q[:, s] @ k[:, s].T) / 8**0.5).softmax(-1) @ v[:, s] for s in (slice(0, 8), slice(8, 16))]
        x = x + dense(torch.cat(heads, dim=-1), f"h.{layer}.attn.c_proj")
        inner = dense(norm(x, f"h.{layer}.ln_2"), f"h.{layer}.mlp.c_fc")
        inner = 0.5 * inner * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (inner + 0.044715 * inner**3)))
        x = x + dense(inner, f"h.{layer}.mlp.c_proj")
    return norm(x, "ln_f")


@pytest.fixture(params=["v1", "v2"])
def published(request, tmp_path):
    """A folder in the layout of v1 (prefix, tied head, .bin) or v2 (bare names, safetensors), and its weights."""
    folder = tmp_path / "published checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(PUBLISHED_CONFIG))
    weights = published_weights("transformer." if request.param == "v1" else "")
    if request.param == "v1":
        torch.save({**weights, "lm_head.weight": weights["transformer.wte.weight"]}, folder / "pytorch_model.bin")
    else:
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder, weights


def golden(version):
    expected = np.load(GOLDEN / version / "expected.npz")
    snippets = json.loads((GOLDEN / version / "snippets.json").read_text(encoding="utf-8"))
    return GOLDEN / version, expected, snippets


def assert_near(got, expected, mask=None):
    difference = np.abs(got.detach().numpy() - expected)
    assert (difference if mask is None else difference[mask.astype(bool)]).max() <= 1e-5


@needs_golden
@pytest.mark.parametrize("trust_remote_code", [None, True])
@pytest.mark.parametrize("version", VERSIONS)
def test_golden_checkpoint_through_auto_classes(version, trust_remote_code):
    path, expected, snippets = golden(version)
    tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
    batch = tokenizer(snippets, padding=True, return_tensors="pt")
    np.testing.assert_array_equal(batch["input_ids"], expected["input_ids"])
    np.testing.assert_array_equal(batch["attention_mask"], expected["attention_mask"])
    mask = expected["attention_mask"]
    model = AutoModel.from_pretrained(path, trust_remote_code=trust_remote_code).eval()
    assert isinstance(model, CodeRepModel)
    assert model.dtype == torch.float32
    outputs = model(**batch, output_hidden_states=True)
    assert_near(outputs.last_hidden_state, expected["last_hidden_state"], mask)
    assert_near(outputs.pooler_output, expected["pooler_output"])
    assert_near(outputs.hidden_states[1], expected["hidden_state_1"], mask)
    masked = AutoModelForMaskedLM.from_pretrained(path, trust_remote_code=trust_remote_code).eval()
    assert_near(masked(**batch).logits, expected["mlm_logits"], mask)
    assert masked.lm_head.weight is masked.encoder.embeddings.tokens.weight


@needs_golden
@pytest.mark.parametrize("version", VERSIONS)
def test_golden_checkpoint_through_encode_and_sentence_transformers(version):
    path, expected, snippets = golden(version)
    np.testing.assert_allclose(AutoModel.from_pretrained(path).encode(snippets), expected["pooler_output"], atol=1e-5)
    sentence_transformers = pytest.importorskip("sentence_transformers")
    model = sentence_transformers.SentenceTransformer(str(path), device="cpu")
    np.testing.assert_allclose(model.encode(snippets), expected["pooler_output"], atol=1e-5)


@needs_golden
@pytest.mark.parametrize("version", VERSIONS)
def test_golden_checkpoint_fills_masks(version):
    path, _, snippets = golden(version)
    fill = pipeline("fill-mask", model=str(path), tokenizer=str(path))
    assert len(fill(snippets[0].replace("mid", "<mask>", 1))) == 5


@needs_golden
@pytest.mark.parametrize("version", VERSIONS)
def test_golden_checkpoint_after_conversion(version, tmp_path):
    path, expected, snippets = golden(version)
    convert_checkpoint(path, tmp_path / "converted checkpoint", name="me/converted", check=False)
    output = tmp_path / "converted checkpoint"
    here = AutoModel.from_pretrained(output).encode(snippets)
    np.testing.assert_allclose(here, expected["pooler_output"], atol=1e-5)
    elsewhere, logits = run_elsewhere([(output, "AutoModel"), (output, "AutoModelForMaskedLM")], snippets)
    np.testing.assert_array_equal(elsewhere, here)
    mask = expected["attention_mask"].astype(bool)
    np.testing.assert_allclose(logits[mask], expected["mlm_logits"][mask], atol=1e-5)
    tokenizer = AutoTokenizer.from_pretrained(output)
    np.testing.assert_array_equal(
        tokenizer(snippets, padding=True, return_tensors="np")["input_ids"], expected["input_ids"]
    )
    files = {file.name for file in output.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "modules.json", "README.md", "modeling_coderep.py"} <= files
    assert "auto_map" not in json.loads((output / "tokenizer_config.json").read_text())
    card = (output / "README.md").read_text()
    assert "license: apache-2.0" in card
    assert version in card
    assert "{{" not in card


@needs_golden
def test_tokenizer_keeps_eos_under_truncation_and_takes_the_limit_of_the_config():
    tokenizer = AutoTokenizer.from_pretrained(GOLDEN / VERSIONS[0])
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    assert tokenizer.model_max_length == 160
    cut = tokenizer("x = 1 " * 200, truncation=True)["input_ids"]
    assert len(cut) == 160
    assert cut[-1] == tokenizer.eos_token_id
    pair = tokenizer("x", "y")["input_ids"]
    assert pair == [*tokenizer("x")["input_ids"], *tokenizer("y")["input_ids"]]
    assert AutoTokenizer.from_pretrained(GOLDEN / VERSIONS[0], add_eos_token=False)("x")["input_ids"] == pair[:1]
    assert AutoTokenizer.from_pretrained(GOLDEN / VERSIONS[0], model_max_length=10).model_max_length == 10


@needs_golden
def test_tokenizer_appends_eos_whatever_files_are_there(tmp_path):
    """Without tokenizer_config.json nothing names the class; the configuration of the model does."""
    for name in ("config.json", "tokenizer.json"):
        shutil.copyfile(GOLDEN / VERSIONS[1] / name, tmp_path / name)
    assert AutoTokenizer.from_pretrained(tmp_path)("x = 1")["input_ids"][-1] == 0


@needs_golden
def test_tokenizer_from_vocab_and_merges_alone(tmp_path):
    """A download without tokenizer.json gives the same tokens; saved and loaded again, too."""
    path, _, snippets = golden(VERSIONS[0])
    for name in ("config.json", "vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json"):
        shutil.copyfile(path / name, tmp_path / name)
    whole, parts = AutoTokenizer.from_pretrained(path), AutoTokenizer.from_pretrained(tmp_path)
    texts = [*snippets, "a  12\n   3<mask> x<|endoftext|>", ""]
    assert parts(texts)["input_ids"] == whole(texts)["input_ids"]
    parts.save_pretrained(tmp_path / "saved")
    assert AutoTokenizer.from_pretrained(tmp_path / "saved")(texts)["input_ids"] == whole(texts)["input_ids"]
    for text in snippets:
        assert whole.decode(whole(text)["input_ids"][:-1]) == text


def test_a_checkpoint_without_tokenizer_says_so(published):
    with pytest.raises(FileNotFoundError, match=r"has no tokenizer: neither tokenizer\.json nor vocab\.json"):
        AutoTokenizer.from_pretrained(published[0])


def test_published_layout_equals_the_architecture_written_out(published):
    folder, weights = published
    ids = torch.randint(0, 50, (9,))
    model = AutoModel.from_pretrained(folder).double().eval()
    torch.testing.assert_close(model(ids.unsqueeze(0)).last_hidden_state[0], published_encoder(weights, ids))


@pytest.mark.parametrize(
    "auto_class",
    [AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoModelForTokenClassification],
)
def test_what_is_loaded_is_saved_as_a_coderep_checkpoint(published, auto_class, tmp_path):
    folder, weights = published
    model = auto_class.from_pretrained(folder)
    assert model.config.model_type == "coderep"
    model.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["model_type"] == "coderep"
    names = set(load_file(tmp_path / "saved" / "model.safetensors"))
    assert not any("c_attn" in name or "wte" in name for name in names)
    again = auto_class.from_pretrained(tmp_path / "saved")
    for (name, mine), theirs in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0, msg=name)


def test_a_new_model_of_a_published_shape_is_saved_as_a_coderep_checkpoint(published, tmp_path):
    model = AutoModel.from_config(AutoConfig.from_pretrained(published[0])).eval()
    model.save_pretrained(tmp_path / "saved")
    again = AutoModel.from_pretrained(tmp_path / "saved").eval()
    ids = torch.randint(0, 50, (1, 5))
    torch.testing.assert_close(again(ids).pooler_output, model(ids).pooler_output, rtol=0, atol=0)


def test_configuration_mends_what_the_files_get_wrong(published):
    config = AutoConfig.from_pretrained(published[0])
    assert type(config) is CodeRepConfig
    assert (config.bos_token_id, config.eos_token_id) == (0, 0)
    assert (config.mask_token_id, config.pad_token_id) == (48, 49)
    assert config.dtype is None
    assert config.hidden_act == "gelu_pytorch_tanh"
    assert AutoConfig.from_pretrained(published[0], num_labels=5).num_labels == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": None}, "lacks 'hidden_size'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key' is unknown"),
        ({"activation_function": "gelu_now"}, "hidden_act='gelu_now' is no activation.*gelu_new"),
    ],
)
def test_configuration_refuses_what_no_release_says(published, change, message):
    config = {key: value for key, value in {**PUBLISHED_CONFIG, **change}.items() if value is not None}
    (published[0] / "config.json").write_text(json.dumps(config))
    with pytest.raises(Exception, match=message):
        AutoConfig.from_pretrained(published[0])


def test_the_class_by_name_points_to_the_auto_class(published):
    with pytest.raises(ValueError, match="'codesage' model, not of a 'coderep' one. Load it with AutoModel"):
        CodeRepModel.from_pretrained(published[0])


def rewrite(folder, change):
    """Change the weights of a published checkpoint by a function of their dictionary."""
    path = folder / "pytorch_model.bin"
    if path.is_file():
        weights = torch.load(path, weights_only=True)
        change(weights)
        torch.save(weights, path)
    else:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors", {"format": "pt"})


def key(weights, name):
    return next(k for k in weights if k.endswith(name))


@pytest.mark.parametrize("auto_class", [AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification])
@pytest.mark.parametrize(
    "name", ["wte.weight", "h.1.attn.c_attn.weight", "h.0.mlp.c_proj.bias", "ln_f.weight", "wpe.weight"]
)
def test_a_missing_weight_is_named(published, auto_class, name):
    folder, _ = published
    rewrite(folder, lambda weights: [weights.pop(k) for k in list(weights) if k.endswith((name, "lm_head.weight"))])
    with pytest.raises(ValueError, match=f"lacks the weight '(transformer[.])?{name}'"):
        auto_class.from_pretrained(folder)


def test_the_first_missing_weight_is_the_one_named(published):
    folder, _ = published
    rewrite(folder, lambda weights: [weights.pop(key(weights, f"h.{i}.ln_1.bias")) for i in (1, 0)])
    with pytest.raises(ValueError, match=r"'(transformer\.)?h\.0\.ln_1\.bias'.* and 1 more"):
        AutoModel.from_pretrained(folder)


def test_a_weight_of_another_shape_is_named(published):
    folder, _ = published

    def change(weights):
        weights[key(weights, "h.1.mlp.c_fc.weight")] = torch.zeros(16, 31)

    rewrite(folder, change)
    with pytest.raises(ValueError, match=r"'(transformer\.)?h\.1\.mlp\.c_fc\.weight' .*\(16, 31\).*\(16, 32\)"):
        AutoModel.from_pretrained(folder)


def test_a_torn_file_is_refused(published):
    folder, _ = published
    path = next(path for path in folder.iterdir() if path.suffix in (".bin", ".safetensors"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"cannot be read.*again"):
        AutoModel.from_pretrained(folder)


def test_another_kind_of_model_is_refused(published):
    """BERT's weights under a CodeSage configuration: nothing random comes out."""
    folder, _ = published
    rewrite(folder, lambda weights: [weights.pop(k) for k in list(weights)] and weights.update(x=torch.zeros(2)))
    with pytest.raises(ValueError, match=r"lacks the weight 'wte\.weight'.*more"):
        AutoModel.from_pretrained(folder)


def test_half_a_head_is_refused(tiny_config, tmp_path):
    CodeRepForMaskedLM(tiny_config).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["head.dense.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks the weight 'head\.dense\.weight' of CodeRepForMaskedLM"):
        AutoModelForMaskedLM.from_pretrained(tmp_path)
    for name in [name for name in weights if name.startswith(("head.", "lm_head."))]:
        del weights[name]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    AutoModelForMaskedLM.from_pretrained(tmp_path)  # an encoder alone: the head is new


def test_weights_without_a_place_are_refused(tiny_config, tmp_path):
    CodeRepModel(tiny_config).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    with pytest.raises(ValueError, match=r"holds the weight 'layers\.1\..*no place"):
        AutoModel.from_pretrained(tmp_path)


def test_an_adapter_does_not_hide_a_torn_base(tiny_config, tmp_path):
    from peft import LoraConfig, get_peft_model

    base = CodeRepModel(tiny_config)
    base.save_pretrained(tmp_path / "base")
    adapted = get_peft_model(
        AutoModel.from_pretrained(tmp_path / "base"), LoraConfig(target_modules=["qkv"], task_type="FEATURE_EXTRACTION")
    )
    adapted.save_pretrained(tmp_path / "adapter")
    AutoModel.from_pretrained(tmp_path / "adapter")
    rewrite(tmp_path / "base", lambda weights: weights.pop("layers.1.mlp.up.weight"))
    with pytest.raises(ValueError, match=r"lacks the weight 'layers\.1\.mlp\.up\.weight'"):
        AutoModel.from_pretrained(tmp_path / "adapter")


def test_a_new_head_of_another_size_is_welcome(tiny_config, tmp_path):
    model = AutoModelForSequenceClassification.from_config(tiny_config)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"'classifier\.weight' in the shape \(2, 32\).*ignore_mismatched_sizes"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=3)
    again, info = AutoModelForSequenceClassification.from_pretrained(
        tmp_path, num_labels=3, ignore_mismatched_sizes=True, output_loading_info=True
    )
    assert again.classifier.out_features == 3
    assert info["mismatched_keys"]


def test_a_published_checkpoint_can_be_the_start_of_a_run(published, tmp_path):
    """Training goes on from it and its checkpoints are coderep's, which the Trainer loads again."""
    model = AutoModelForMaskedLM.from_pretrained(published[0]).train()
    ids = torch.randint(0, 50, (2, 8))
    model(ids, labels=ids).loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    model.save_pretrained(tmp_path / "checkpoint-1")
    assert isinstance(CodeRepForMaskedLM.from_pretrained(tmp_path / "checkpoint-1"), CodeRepForMaskedLM)


def test_every_pattern_of_the_weights_is_needed(published):
    """Each renaming matches at least one published name: none is dead."""
    names = [f"transformer.{name}" for name in published_weights()]
    for transform in WEIGHTS:
        assert any(transform.compiled_sources.search(name) for name in names), transform


@pytest.mark.parametrize(
    ("preset", "parameters"), [("small", 128_010_240), ("base", 354_742_272), ("large", 1_313_464_320)]
)
def test_presets_have_the_published_numbers_of_parameters(preset, parameters):
    with torch.device("meta"):
        assert CodeRepModel(CodeRepConfig.from_preset(preset)).num_parameters() == parameters


@needs_golden
def test_convert_command(tmp_path, capsys):
    assert coderep.main(["convert", str(GOLDEN / VERSIONS[1]), str(tmp_path / "out")]) == 0
    assert "differ by at most 0.0e+00" in capsys.readouterr().out
    convert = ["convert", str(GOLDEN / VERSIONS[0]), str(tmp_path / "out"), "--no-check"]
    assert coderep.main(convert) == 2
    assert "exists already" in capsys.readouterr().err
    assert coderep.main([*convert, "--overwrite"]) == 0
    assert coderep.main(["convert", str(tmp_path / "out"), str(tmp_path / "out2")]) == 2
    assert "already; there is nothing to convert" in capsys.readouterr().err


def test_convert_command_refuses(published, tmp_path, capsys):
    folder, _ = published

    def refusal(output="out"):
        assert coderep.main(["convert", str(folder), str(tmp_path / output)]) == 2
        return capsys.readouterr().err

    assert "is the source" in refusal(folder.name)
    rewrite(folder, lambda weights: weights.update({"classifier.weight": torch.zeros(2, 16)}))
    assert "classifier.weight', for which an encoder has no place" in refusal()
    rewrite(folder, lambda weights: weights.pop("classifier.weight"))
    assert "has no tokenizer" in refusal()
    rewrite(folder, lambda weights: weights.pop(key(weights, "wpe.weight")))
    assert "lacks the weight" in refusal()
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
