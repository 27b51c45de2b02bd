"""Pushing while training: each push is what the command publishes; what could not be is refused before training."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import transformers
from hub_runs import TOKEN
from hub_runs import hub as hub
from hub_runs import model as model
from hub_runs import pairs as pairs
from hub_runs import run as run
from hub_server import Fault
from huggingface_hub import ModelCard
from pair_runs import stage2 as stage2
from pair_runs import train_argv
from running import assert_same_run
from running import train as train
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

import coderep
from hub_cards.metadata import check_card
from hub_cards.publish import publish_run
from modeling_coderep import CodeRepModel

# Raised inside huggingface_hub.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


SMALL = ["--model_config", "{hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 64}"]
SMALL += ["--max_length", "64", "--per_device_train_batch_size", "4", "--max_steps", "4", "--save_steps", "2"]


def train_mlm(stage1, output, *more):
    argv = ["--data", str(stage1 / "rows"), "--tokenizer", str(stage1 / "tokenizer"), "--output_dir", str(output)]
    return coderep.main(["train", "mlm", *argv, *SMALL, "--push_to_hub", "true", *more])


@pytest.fixture
def unchecked(monkeypatch):
    """Without the process that loads an export; `checked` holds what would have been."""
    checked = []
    monkeypatch.setattr("hub_cards.publish.check_export", lambda *folders: checked.append(folders))
    return checked


def layout(files):
    return {name for name in files if not name.startswith(("last-checkpoint/", ".gitattributes"))}


def test_a_trainer_pushes_what_the_command_publishes(hub, stage1, tmp_path, unchecked, capsys):
    """Each save and the end are whole versions, private, one commit each, with the card of the command."""
    output, hub_options = tmp_path / "run", ["--hub_model_id", "me/mlm", "--hub_always_push", "true"]
    assert train_mlm(stage1, output, *hub_options, "--hub_token", TOKEN) == 0
    repo = hub.repos["model", "me/mlm"]
    messages = ["End of training", *(f"Training in progress, step {step}" for step in (4, 2)), "initial commit"]
    assert [commit.message for commit in repo.history()] == messages and repo.private
    plan = publish_run(output, "me/mlm").plan
    assert unchecked == [(output / "hub", output / "model")]
    for commit in repo.history()[:-1]:
        assert layout(commit.files) == {file.path for file in plan.files}
        assert b"me/mlm" in repo.read("README.md", commit.oid)
    for file in plan.files:
        assert repo.read(file.path) == file.source.read_bytes(), file.path
    before = CodeRepModel.from_pretrained(output / "checkpoint-2").state_dict()
    (tmp_path / "step 2").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "step 2" / name).write_bytes(repo.read(name, repo.history()[2].oid))
    pushed = CodeRepModel.from_pretrained(tmp_path / "step 2").state_dict()
    assert all(torch.equal(before[name], pushed[name]) for name in before)
    captured = capsys.readouterr()
    assert TOKEN not in captured.out + captured.err
    for path in output.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path
    assert [path.name for path in output.iterdir() if path.name.startswith(".hub")] == []


def test_a_trainer_pushes_its_checkpoints(hub, stage1, tmp_path, unchecked):
    options = ["--hub_model_id", "me/mlm", "--hub_strategy", "checkpoint", "--hub_always_push", "true"]
    assert train_mlm(stage1, tmp_path / "run", *options, "--hub_private_repo", "false") == 0
    repo = hub.repos["model", "me/mlm"]
    assert not repo.private
    state = {name.partition("/")[2] for name in repo.at("main").files if name.startswith("last-checkpoint/")}
    assert {"trainer_state.json", "model.safetensors", "optimizer.pt", "scheduler.pt"} <= state
    assert "training_args.bin" not in state
    assert json.loads(repo.read("last-checkpoint/trainer_state.json"))["global_step"] == 4
    assert len(repo.history()) == 4


def test_a_failed_push_at_the_end_is_made_up_for_by_the_same_command(hub, stage1, tmp_path, unchecked, capsys):
    options = ["--hub_model_id", "mlm", "--hub_strategy", "end"]
    hub.faults.append(Fault("POST .*/commit/", status=503))
    assert train_mlm(stage1, tmp_path / "run", *options) == 1
    assert "the Hub failed (503" in capsys.readouterr().err.splitlines()[-1]
    assert train_mlm(stage1, tmp_path / "run", *options) == 0
    repo = hub.repos["model", "me/mlm"]  # of the token's owner
    assert [commit.message for commit in repo.history()] == ["End of training", "initial commit"]


def test_a_failed_push_meanwhile_does_not_stop_training(hub, stage1, tmp_path, unchecked, capsys):
    hub.faults.append(Fault("POST .*/commit/", status=503))
    options = ["--hub_model_id", "me/mlm", "--hub_always_push", "true"]
    assert train_mlm(stage1, tmp_path / "run", *options) == 0
    assert "no push of step 2: the Hub failed (503" in capsys.readouterr().err
    assert [commit.message for commit in hub.repos["model", "me/mlm"].history()][0] == "End of training"


def test_a_trainer_that_may_not_push_says_so_before_training(hub, stage1, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN")
    assert train_mlm(stage1, tmp_path / "run", "--hub_model_id", "me/mlm") == 1
    assert "no Hub token on this machine" in capsys.readouterr().err
    assert not list((tmp_path / "run").glob("checkpoint-*"))


def test_a_contrastive_trainer_pushes_without_a_finished_run(hub, run, pairs, tmp_path):
    """From Python: `trainer.push_to_hub()` lays out the model as it is."""

    from coderep import ContrastiveArguments, ContrastiveTrainer

    arguments = ContrastiveArguments(output_dir=str(tmp_path / "out"), data=str(pairs), hub_model_id="lab/pairs")
    model = CodeRepModel.from_pretrained(run / "model")
    trainer = ContrastiveTrainer(model, arguments, processing_class=AutoTokenizer.from_pretrained(run / "model"))
    trainer.create_model_card()
    assert "lab/pairs" in (tmp_path / "out" / "README.md").read_text()
    assert trainer.push_to_hub("As it is").changed
    repo = hub.repos["model", "lab/pairs"]
    assert repo.history()[0].message == "As it is" and "modeling_coderep.py" in repo.at("main").files
    assert repo.read("model.safetensors") == (tmp_path / "out" / "hub" / "model.safetensors").read_bytes()


# other encoders


@pytest.fixture
def bert(stage2, tmp_path, stage1):
    """The folder of a new BERT that sentence-transformers has saved."""
    st = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.BertConfig(**sizes, vocab_size=1024, pad_token_id=0, max_position_embeddings=64)
    AutoModel.from_config(config).save_pretrained(tmp_path / "plain")
    for path in (stage1 / "tokenizer").glob("tokenizer*.json"):
        shutil.copy(path, tmp_path / "plain")
    modules = [Transformer(str(tmp_path / "plain"), max_seq_length=24), Pooling(16, "mean"), Normalize()]
    st.SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "bert"), create_model_card=False)
    (tmp_path / "bert" / "README.md").write_text("---\nlicense: mit\n---\n# A base\n")
    return tmp_path / "bert"


def train_pairs(stage2, model, output, *more):
    argv = train_argv(stage2, output, 8, "--max_steps", "4", "--save_steps", "2", *more, model=str(model))
    return coderep.main([*argv, "--push_to_hub", "true", "--hub_always_push", "true"])


@pytest.mark.parametrize("lora", [[], ["--lora_rank", "2"]], ids=["all weights", "LoRA"])
def test_any_encoder_is_pushed_while_it_trains(hub, stage2, bert, tmp_path, unchecked, lora):
    """Each push is a sentence-transformers model by itself, adapters added to its weights."""
    output = tmp_path / "run"
    assert train_pairs(stage2, bert, output, "--hub_model_id", "me/bert", *lora) == 0
    repo = hub.repos["model", "me/bert"]
    messages = ["End of training", *(f"Training in progress, step {step}" for step in (4, 2)), "initial commit"]
    assert [commit.message for commit in repo.history()] == messages
    files = {file.path for file in publish_run(output, "me/bert").plan.files}
    assert {"modules.json", "1_Pooling/config.json", "tokenizer.json"} <= files
    for commit in repo.history()[:-1]:
        assert layout(commit.files) == files and not any(name.endswith(".py") for name in files)
        card = repo.read("README.md", commit.oid).decode()
        check_card(card)
        assert "transformers' own `BertModel`" in card and ModelCard(card).data.license == "mit"
    pushed = []
    for place, commit in enumerate(repo.history()[:-1]):
        (tmp_path / str(place)).mkdir()
        (tmp_path / str(place) / "model.safetensors").write_bytes(repo.read("model.safetensors", commit.oid))
        pushed.append(load_file(tmp_path / str(place) / "model.safetensors"))
    last, fourth, second = pushed
    saved = load_file(output / "model" / "model.safetensors")
    assert last.keys() == fourth.keys() == second.keys() == saved.keys()
    assert all(torch.equal(last[name], saved[name]) for name in saved)
    assert all(torch.allclose(fourth[name], saved[name], atol=1e-7) for name in saved)
    assert any(not torch.equal(second[name], saved[name]) for name in saved)


def test_what_cannot_be_published_is_refused_before_training(hub, stage2, bert, tmp_path, monkeypatch, capsys):
    config = json.loads((bert / "config.json").read_text())
    (bert / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModelForCausalLM": "theirs.Model"}}))
    assert train_pairs(stage2, bert, tmp_path / "run", "--hub_model_id", "me/bert") == 2
    assert "whose code is not part of transformers" in capsys.readouterr().err
    assert not list((tmp_path / "run").glob("checkpoint-*")) and not (tmp_path / "run" / "model").exists()
    assert [commit.message for commit in hub.repos["model", "me/bert"].history()] == ["initial commit"]


# classifiers


@pytest.mark.parametrize("kind", ["tuned", "probe"])
def test_classifiers_are_pushed_with_their_scores(hub, run, bert, tmp_path, kind, capsys):
    """A fine-tuned BERT, and a probe on a model of ours; both load as classifiers where coderep is not installed."""
    codes = [(f"for item in range({number}):\n    print(item)", "loop") for number in range(16)]
    codes += [(f"class Reader{number}:\n    path = None", "class") for number in range(16)]
    rows = [json.dumps({"code": code, "label": label}) for code, label in codes]
    (tmp_path / "shapes.jsonl").write_text("\n".join(rows) + "\n")
    source, more = (bert, []) if kind == "tuned" else (run / "model", ["--freeze_encoder", "true"])
    argv = ["--data", str(tmp_path / "shapes.jsonl"), "--model", str(source), "--output_dir", str(tmp_path / "out")]
    argv += ["--num_train_epochs", "2", "--per_device_train_batch_size", "8", "--max_length", "24", *more]
    argv += ["--push_to_hub", "true", "--hub_model_id", "me/shapes", "--hub_strategy", "end"]
    assert coderep.main(["train", "classify", *argv]) == 0  # with the check in a clean process
    repo = hub.repos["model", "me/shapes"]
    assert [commit.message for commit in repo.history()] == ["End of training", "initial commit"]
    card = repo.read("README.md").decode()
    check_card(card)
    data = ModelCard(card).data
    assert data.pipeline_tag == "text-classification" and "sentence-transformers" not in data.tags
    found = {row.metric_type: row.metric_value for row in data.eval_results}
    scores = json.loads((tmp_path / "out" / "results.json").read_text())["results"]
    assert found == {"f1": round(scores[0]["value"], 5), "accuracy": round(scores[1]["value"], 5)}
    assert "It tells 2 classes apart: class and loop." in card and "Labelled code from" in card
    assert ("trust_remote_code=True" in card) == (kind == "probe") and str(tmp_path) not in card
    assert "modules.json" not in repo.at("main").files
    (tmp_path / "copy").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "copy" / name).write_bytes(repo.read(name))
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "copy")
    assert loaded.config.id2label == {0: "class", 1: "loop"}


# several processes


# Only the first one has a token and the address of the Hub.
APART = """
import os
from huggingface_hub import constants
first = os.environ["RANK"] == "0"
constants.ENDPOINT = {url!r} if first else "http://127.0.0.1:9"
constants.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_XET = False, True
if not first:
    os.environ.pop("HF_TOKEN", None)
import hub_cards.publish
hub_cards.publish.check_export = lambda *folders: 0.0
"""


def test_of_several_processes_the_first_alone_talks_to_the_hub(hub, stage2, tmp_path, train):
    options = ["--max_steps", "4", "--save_steps", "2", "--push_to_hub", "true", "--hub_model_id", "me/two"]
    options += ["--hub_always_push", "true", "--hub_strategy", "checkpoint", "--use_cpu", "true"]
    argv = train_argv(stage2, tmp_path / "run", 4, *options)
    codes, logs = train(argv, 2, before=APART.format(url=hub.url), env={"HF_TOKEN": TOKEN})
    assert codes == [0, 0], logs
    repo = hub.repos["model", "me/two"]
    messages = ["End of training", *(f"Training in progress, step {step}" for step in (4, 2)), "initial commit"]
    assert [commit.message for commit in repo.history()] == messages
    state = {name.partition("/")[2] for name in repo.at("main").files if name.startswith("last-checkpoint/")}
    assert {"rng_state_0.pth", "rng_state_1.pth", "complete", "stage.json", "optimizer.pt"} <= state
    assert json.loads(repo.read("last-checkpoint/complete"))["processes"] == 2
    saved = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    assert repo.read("model.safetensors") == saved
    assert all(TOKEN not in log for log in logs)


def test_several_processes_end_together_when_the_first_may_not_push(hub, stage2, tmp_path, train):
    argv = train_argv(stage2, tmp_path / "run", 4, "--max_steps", "4", "--use_cpu", "true", "--push_to_hub", "true")
    codes, logs = train(argv, 2, before=APART.format(url=hub.url), env={"HF_TOKEN": "hf_wrong"})
    assert codes == [1, 1], logs
    assert "the Hub does not accept the token" in logs[0]
    assert not list((tmp_path / "run").glob("checkpoint-*"))


# going on from the Hub


def test_training_goes_on_from_a_checkpoint_on_the_hub(hub, stage2, tmp_path, unchecked, monkeypatch):
    """Another machine downloads the last checkpoint into a new folder, and the same command ends with equal weights."""
    options = ["--hub_model_id", "me/on", "--hub_strategy", "checkpoint"]

    assert train_pairs(stage2, "dropout", tmp_path / "whole", *options) == 0
    repo = hub.repos["model", "me/on"]
    (second,) = [commit for commit in repo.history() if commit.message == "Training in progress, step 2"]
    there = tmp_path / "another"
    for name in second.files:
        if name.startswith("last-checkpoint/"):
            (there / name).parent.mkdir(parents=True, exist_ok=True)
            (there / name).write_bytes(repo.read(name, second.oid))
    (there / ".cache").mkdir()  # as `hf download --local-dir` leaves it
    steps = []
    monkeypatch.setattr("trainers.stage.say", lambda line: None)
    plain = transformers.Trainer.train
    monkeypatch.setattr(
        transformers.Trainer, "train", lambda self, *args, **kw: steps.append(kw) or plain(self, *args, **kw)
    )
    assert train_pairs(stage2, "dropout", there, *options) == 0
    assert steps == [{"resume_from_checkpoint": str(there / "checkpoint-2")}]
    assert not (there / "last-checkpoint").exists()
    assert_same_run(there, tmp_path / "whole")


def test_a_part_of_a_checkpoint_is_not_gone_on_from(hub, stage2, tmp_path, capsys):
    (tmp_path / "run" / "last-checkpoint").mkdir(parents=True)
    (tmp_path / "run" / "last-checkpoint" / "stage.json").write_text("{}")
    assert train_pairs(stage2, "model", tmp_path / "run", "--hub_model_id", "me/on") == 2
    assert "last-checkpoint' is a part of a checkpoint. Download all of it" in capsys.readouterr().err
