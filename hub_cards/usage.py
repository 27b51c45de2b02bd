"""Code that uses a published model, as its card shows it. The tests run these blocks."""

from __future__ import annotations

import json

from .model_facts import ModelFacts

_TEXT, _CODE = "add two numbers", "def plus(a, b):\n    return a + b"

_OURS = """\
from transformers import AutoModel

model = AutoModel.from_pretrained({repo}, trust_remote_code=True)
text, code = model.encode({texts}, normalize=True)
print(text @ code)  # cosine similarity"""

_ANY = """\
import torch
from transformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({repo}{right})
model = AutoModel.from_pretrained({repo}).eval()
texts = {prompted}
batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
mask = batch["attention_mask"]
with torch.no_grad():
    states = model(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
{pooling}
text, code = torch.nn.functional.normalize(pooled, dim=1)
print(text @ code)  # cosine similarity"""

# What makes one embedding of a text's states, by hand. Padding is on the right.
_POOLING = {
    "mean": "pooled = (states * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True)  # mean over real tokens",
    "cls": "pooled = states[:, 0]  # of the first token",
    "last": "pooled = states[torch.arange(len(texts)), mask.sum(1) - 1]  # of the last token",
}

_SENTENCES = """\
from sentence_transformers import SentenceTransformer

model = SentenceTransformer({repo}{trust})
{embeddings}
print(model.similarity(embeddings[0], embeddings[1]))"""

_EMBEDDINGS = "embeddings = model.encode({texts})"
_PROMPTED = """\
text, code = {texts}
embeddings = [model.encode_query(text), model.encode_document(code)]  # each with its prompt"""

_ONNX = """\
import numpy as np
import onnxruntime
{fetch}from transformers import AutoTokenizer

folder = {folder}
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
session = onnxruntime.InferenceSession(folder + {file}, providers=["CPUExecutionProvider"])
batch = tokenizer({prompted}, padding=True, truncation=True, return_tensors="np")
inputs = {{name: batch[name].astype("int64") for name in ("input_ids", "attention_mask")}}
(embeddings,) = session.run([{output}], inputs)
embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
print(embeddings[0] @ embeddings[1])  # cosine similarity"""

_FETCH = "from huggingface_hub import snapshot_download\n"
_FETCHED = 'snapshot_download({repo}, allow_patterns=["*.json", "onnx/*"])'

_CLASSIFIER = """\
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({repo}, trust_remote_code=False)
model = AutoModelForSequenceClassification.from_pretrained({repo}{trust}).eval()
{inputs}
with torch.no_grad():
    scores = model(**inputs).logits[0].softmax(0)
print({{name: float(scores[number]) for number, name in model.config.id2label.items()}})"""

_PLAIN = 'inputs = tokenizer([{code}], truncation=True, return_tensors="pt")'
_JOINED = 'inputs = tokenizer([{code}], [{code}], truncation=True, return_tensors="pt")  # one input of two codes'
# A model of ours embeds the codes of a pair one by one.
_PAIR = """\
two = tokenizer([{code}, {code}], padding=True, truncation=True, return_tensors="pt")
inputs = {{name: two[name].unsqueeze(0) for name in ("input_ids", "attention_mask")}}  # (pairs, 2, tokens)"""

_DATA = """\
from datasets import load_dataset

rows = load_dataset({repo}, {config}, split="{split}")
print(rows[0])"""

# What the ONNX files call the embeddings: a model of ours gives them itself; what others call their pooled output was
# trained for another purpose.
OURS_OUTPUT, OTHERS_OUTPUT = "pooler_output", "sentence_embedding"


def model_usage(repo: str, facts: ModelFacts | None = None, *, local: bool = False) -> dict[str, str]:
    """Title -> Python code, for each way to use a model.

    Args:
        repo: Its name on the Hub, or its folder.
        facts: What it is; default: an encoder of ours without ONNX files.
        local: Whether `repo` is a folder, which nothing is fetched into.
    """
    facts = facts or ModelFacts()
    trust = ", trust_remote_code=True" if facts.own_code else ""
    values = {"repo": _quoted(repo), "trust": trust, "texts": _listed({}), "prompted": _listed(facts.prompts)}
    if facts.classifies:
        read = _PLAIN if facts.inputs == 1 else _PAIR if facts.own_code else _JOINED
        return {"transformers": _CLASSIFIER.format(**values, inputs=read.format(code=_quoted(_CODE)))}
    if facts.own_code:
        blocks = {"transformers": _OURS.format(**values)}
    else:
        right = "" if facts.pooling == "mean" else ', padding_side="right"'
        blocks = {"transformers": _ANY.format(**values, right=right, pooling=_POOLING[facts.pooling])}
    embeddings = (_PROMPTED if facts.prompts else _EMBEDDINGS).format(**values)
    blocks["sentence-transformers"] = _SENTENCES.format(**values, embeddings=embeddings)
    if facts.onnx:
        blocks["ONNX, without torch"] = _ONNX.format(
            **values,
            fetch="" if local else _FETCH,
            folder=values["repo"] if local else _FETCHED.format(**values),
            output=_quoted(OURS_OUTPUT if facts.own_code else OTHERS_OUTPUT),
            file=_quoted(f"/{facts.onnx[0]}"),
        )
    return blocks


def data_usage(repo: str, config: str, split: str) -> str:
    """Python code that loads a configuration of a data set."""
    return _DATA.format(repo=_quoted(repo), config=_quoted(config), split=split)


def _listed(prompts: dict[str, str]) -> str:
    """The texts that are compared, with what each begins with."""
    return f"[{_quoted(prompts.get('text', '') + _TEXT)}, {_quoted(prompts.get('code', '') + _CODE)}]"


def _quoted(name: str) -> str:
    return json.dumps(name)
