"""Publishing, over HTTP with the real client, against a small Hub on loopback: push, load back, break it, go on."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import traceback
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_runs import RUN, TEXTS, TOKEN
from hub_runs import elsewhere as elsewhere
from hub_runs import hub as hub
from hub_runs import model as model
from hub_runs import pairs as pairs
from hub_runs import run as run
from hub_server import Blob, Fault, User
from huggingface_hub import constants, get_session, hf_hub_download

import coderep
from data_collators.files import write_json
from hub_cards.layout import ModelOptions
from hub_cards.publish import publish_checkpoint, publish_run
from hub_cards.publish_errors import PublishError, redact
from hub_cards.publish_files import pickle_reason, state_files
from hub_cards.verify import OUR_PACKAGES, check_export
from modeling_coderep import CodeRepModel

# Raised inside huggingface_hub.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def command(*argv):
    return coderep.main(["card", "publish", *map(str, argv)])


def push(run, repo="me/name", **options):
    return publish_run(run, repo, push=True, check=False, **options)


# a dry run


def test_without_push_nothing_leaves_the_machine(hub, run, capsys):
    assert command(run, "--repo", "me/name") == 0
    assert hub.requests == []
    out = capsys.readouterr().out
    sizes = {line.split("  ")[-1]: line.split()[0] for line in out.splitlines()}
    assert sizes["model.safetensors"] == f"{(run / 'model' / 'model.safetensors').stat().st_size:,}"
    assert {"README.md", "config.json", "modeling_coderep.py", "tokenizer.json", "1_Pooling/config.json"} <= set(sizes)
    assert "would go to model repo me/name, branch main, private: only you will see it" in out
    assert out.splitlines()[-1] == "Dry run: nothing left this machine. Add --push to upload."
    assert "me/name" in (run / "hub" / "README.md").read_text()


def test_an_exported_checkpoint_goes_as_it_stands(hub, run, capsys):
    publish_run(run, "me/name")
    (run / "hub" / "README.md").write_text("# By hand")
    files = publish_checkpoint(run / "hub", "me/name", push=False)
    assert {Path("README.md"), Path("model.safetensors"), Path("1_Pooling/config.json")} <= set(files)
    assert command(run / "hub", "--repo", "me/name", "--onnx") == 2
    assert "is exported already: options for weights and cards need a run's folder" in capsys.readouterr().err
    assert command(run / "hub", "--repo", "me/name") == 0
    assert "does not name me/name: its code may load something else" in capsys.readouterr().err
    push(run / "hub")
    assert hub.repos["model", "me/name"].read("README.md") == b"# By hand"
    assert "published.json" not in hub.repos["model", "me/name"].at("main").files


# a model


def test_a_run_is_pushed_in_one_commit_and_is_private(hub, run, capsys):
    assert command(run, "--repo", "me/name", "--push", "--no-check") == 0
    repo = hub.repos["model", "me/name"]
    assert repo.private and [commit.message for commit in repo.history()][1:] == ["initial commit"]
    files = {path.relative_to(run / "hub").as_posix(): path for path in (run / "hub").rglob("*") if path.is_file()}
    assert set(repo.at("main").files) == {*files, ".gitattributes"}
    assert all(repo.read(name) == path.read_bytes() for name, path in files.items())
    out = capsys.readouterr()
    assert (
        "private: only you see it" in out.out and f"{hub.url}/me/name: commit {repo.branches['main'][:12]}" in out.out
    )
    assert "Dry run" not in out.out
    assert [r.authorization for r in hub.requests if r.host != "127.0.0.1"] == [None], "credentials went elsewhere"


def test_visibility(hub, run):
    push(run, "me/open", public=True)
    assert not hub.repos["model", "me/open"].private
    with pytest.raises(ValueError, match="'me/open' is public: everybody would see what is pushed. Add --public"):
        push(run, "me/open")
    push(run, "me/closed")
    assert push(run, "me/closed", public=True).pushed.private  # what is private stays so
    with pytest.raises(SystemExit):
        command(run, "--repo", "me/x", "--public", "--private")


def test_a_branch(hub, run):
    push(run)
    before = hub.repos["model", "me/name"].branches["main"]
    write_json(run / "run.json", {**RUN, "tokens": 7_654_321})
    push(run, revision="better")
    repo = hub.repos["model", "me/name"]
    assert repo.branches["main"] == before
    assert repo.at("better").parent == before and repo.read("README.md", "better") != repo.read("README.md")


def test_pushing_again_without_a_change_makes_no_commit(hub, run, capsys):
    push(run)
    commits, sent = len(hub.repos["model", "me/name"].commits), hub.sent("_storage")
    assert command(run, "--repo", "me/name", "--push", "--no-check") == 0
    assert "unchanged since commit" in capsys.readouterr().out
    assert (len(hub.repos["model", "me/name"].commits), hub.sent("_storage")) == (commits, sent)


def test_files_of_an_earlier_version_do_not_stay(hub, run):
    """Shards of other weights beside new ones would be half of one version and half of another."""
    push(run, options=ModelOptions(max_shard_size="140KB"))
    repo = hub.repos["model", "me/name"]
    shards = [name for name in repo.at("main").files if re.fullmatch(r"model-\d+-of-\d+.safetensors", name)]
    assert len(shards) > 1
    others = ("onnx/model.onnx", "2_Dense/config.json", "vocab.txt")  # of the model, its modules, its tokenizer
    with hub.lock:
        more = {"notes.txt": Blob(b"mine"), **{name: Blob(b"old") for name in others}}
        repo.commit("by hand", {**repo.at("main").files, **more})
    done = push(run)
    assert set(done.pushed.removed) == {*shards, "model.safetensors.index.json", *others}
    files = repo.at("main").files
    assert "model.safetensors" in files and "notes.txt" in files and not set(done.pushed.removed) & set(files)
    assert len(repo.history()) == 4


def test_cut_weights_are_the_weights(run):
    done = publish_run(run, "me/name", options=ModelOptions(max_shard_size="140KB"))
    assert sum(file.path.endswith(".safetensors") for file in done.plan.files) > 1
    whole, cut = (CodeRepModel.from_pretrained(path).state_dict() for path in (run / "model", run / "hub"))
    assert whole.keys() == cut.keys() and all(torch.equal(whole[name], cut[name]) for name in whole)


def test_onnx_goes_too_and_is_checked(run, monkeypatch):
    pytest.importorskip("onnxscript")
    options = ModelOptions(onnx=True)
    files = {file.path: file for file in publish_run(run, "me/name", options=options).plan.files}
    assert {"onnx/model.onnx", "onnx/model_quantized.onnx"} <= set(files)
    assert "onnx" in (run / "hub" / "README.md").read_text()
    here = CodeRepModel.from_pretrained(run / "hub").encode
    monkeypatch.setattr("hub_cards.verify.run_elsewhere", lambda loads, texts: [here(list(texts)) for _ in loads])
    check_export(run / "hub", run / "model")
    shutil.copy(run / "hub" / "onnx" / "model_quantized.onnx", run / "hub" / "onnx" / "model.onnx")
    with pytest.raises(RuntimeError, match="model.onnx' gives other embeddings than the model"):
        check_export(run / "hub", run / "model")


@pytest.mark.slow
def test_a_layout_is_the_same_each_time(run):
    """Or a push that broke would send all again."""
    first, second = (
        {file.path: file.source.read_bytes() for file in publish_run(run, "me/name", options=options).plan.files}
        for options in [ModelOptions(onnx=True, max_shard_size="140KB")] * 2
    )
    assert first == second


def test_a_card_of_ones_own(hub, run, pairs, tmp_path, capsys):
    for folder, repo in ((run, "me/name"), (pairs, "me/data")):
        files = publish_run(folder, repo).plan.files
        text = next(file for file in files if file.path == "README.md").source
        text = text if isinstance(text, bytes) else text.read_bytes()
        (tmp_path / "card.md").write_bytes(text + b"\nMine.\n")
        push(folder, repo, card=tmp_path / "card.md")
        kind = "model" if folder == run else "dataset"
        assert hub.repos[kind, repo].read("README.md") == text + b"\nMine.\n"
    assert command(run, "--repo", "me/name", "--card", tmp_path / "none.md") == 2
    assert "none.md' does not exist. Write one with `coderep card render`" in capsys.readouterr().err


def test_an_export_with_other_embeddings_is_not_uploaded(hub, run, monkeypatch, capsys):
    publish_run(run, "me/name")
    here = CodeRepModel.from_pretrained(run / "hub").encode
    monkeypatch.setattr("hub_cards.verify.run_elsewhere", lambda loads, texts: [here(list(texts)) for _ in loads])
    assert check_export(run / "hub", run / "model") == 0
    other = lambda loads, texts: [here(list(texts)) + 0.01 for _ in loads]  # noqa: E731
    monkeypatch.setattr("hub_cards.verify.run_elsewhere", other)
    assert command(run, "--repo", "me/name", "--push") == 1
    assert "gives other embeddings elsewhere (AutoModel), by up to 1.0e-02" in capsys.readouterr().err
    assert hub.requests == []


# there and back


CHILD = """
import importlib.abc, json, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in %r:
            raise ModuleNotFoundError(f"No module named {name!r} (kept out on purpose)", name=name)

sys.meta_path.insert(0, Absent())
import numpy as np, torch
from datasets import load_dataset
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

torch.set_num_threads(int(sys.argv[1]))
texts = json.loads(sys.stdin.read())
model = AutoModel.from_pretrained("me/name", trust_remote_code=True).eval()
assert type(model).__module__.startswith("transformers_modules.")
np.save("automodel.npy", model.encode(texts))
np.save("sentences.npy", SentenceTransformer("me/name", trust_remote_code=True, device="cpu").encode(texts))
rows = load_dataset("me/data", "pairs", split="train")
json.dump({"rows": len(rows), "first": rows[0]}, open("rows.json", "w"))
json.dump(len(load_dataset("me/both", "stage1", split="train")), open("stage1.json", "w"))
"""


def test_there_and_back(hub, run, pairs, stage1, elsewhere):
    """The model gives the same bits, with transformers and sentence-transformers; the data set its rows; files all."""
    assert command(run, "--repo", "me/name", "--push") == 0
    assert command(pairs, "--repo", "me/data", "--push") == 0
    assert command(pairs, stage1 / "rows", "--repo", "me/both", "--push") == 0
    elsewhere("-c", CHILD % (OUR_PACKAGES,), str(torch.get_num_threads()), given=json.dumps(TEXTS))
    here = CodeRepModel.from_pretrained(run / "model").eval().encode(TEXTS)
    np.testing.assert_array_equal(np.load(elsewhere.folder / "automodel.npy"), here)
    np.testing.assert_allclose(np.load(elsewhere.folder / "sentences.npy"), here, rtol=1e-5, atol=1e-5)

    from datasets import Dataset

    rows, documents = (
        Dataset.from_parquet([str(path) for path in folder.glob("train-*")]) for folder in (pairs, stage1 / "rows")
    )
    assert json.loads((elsewhere.folder / "rows.json").read_text()) == {"rows": len(rows), "first": rows[0]}
    assert json.loads((elsewhere.folder / "stage1.json").read_text()) == len(documents)

    said = elsewhere("-m", "huggingface_hub.cli.hf", "download", "me/name", "--local-dir", "copy")
    copied = {path.relative_to(run / "hub").as_posix() for path in (run / "hub").rglob("*") if path.is_file()}
    for name in copied:
        assert (elsewhere.folder / "copy" / name).read_bytes() == (run / "hub" / name).read_bytes(), said
    assert TOKEN not in said
    assert [r for r in hub.requests if r.host != "127.0.0.1" and r.authorization] == []


def test_downloads_break_and_ranges_are_read(hub, run, tmp_path):
    """The small Hub itself, where other tests do not ask: ranges, and credentials that stay with it."""
    push(run)
    weights = (run / "hub" / "model.safetensors").read_bytes()
    hub.requests.clear()
    hub.faults.append(Fault("GET /_storage/", cut=100_000))
    path = hf_hub_download("me/name", "model.safetensors", cache_dir=tmp_path / "cache")
    assert Path(path).read_bytes() == weights
    for name, content in (("model.safetensors", weights), ("config.json", (run / "hub" / "config.json").read_bytes())):
        for given, expected in (("10-19", content[10:20]), ("-5", content[-5:]), ("7-", content[7:])):
            headers = {"Range": f"bytes={given}", "Authorization": f"Bearer {TOKEN}"}
            answer = get_session().get(f"{hub.url}/me/name/resolve/main/{name}", headers=headers)
            assert (answer.status_code, answer.content) == (206, expected)
        headers["Range"] = f"bytes={len(content)}-"
        assert get_session().get(f"{hub.url}/me/name/resolve/main/{name}", headers=headers).status_code == 416
    assert [r for r in hub.requests if r.host != "127.0.0.1" and r.authorization] == []


# data sets


@pytest.fixture
def shards(tmp_path, pairs):
    """A data set of several shards, which may be changed."""
    from datasets import Dataset

    folder = tmp_path / "pairs"
    shutil.copytree(pairs, folder)
    rows = Dataset.from_parquet(str(next(folder.glob("train-*"))))
    next(folder.glob("train-*")).unlink()
    for part in range(4):
        name = folder / f"train-{part:05}-of-00004.parquet"
        rows.shard(4, part, contiguous=True).to_parquet(str(name))
    return folder


def test_a_data_set_goes_in_one_commit_and_resumes(hub, shards, monkeypatch, capsys):
    """After a cut, the same command sends only what is not there; nobody saw half of it."""
    monkeypatch.setattr("hub_cards.publish_repo._GROUP_FILES", 1)
    big = [path for path in sorted(shards.iterdir()) if path.suffix in (".parquet", ".png")]
    hub.faults.append(Fault("PUT /_storage/", skip=3, times=99, cut=1000))
    assert command(shards, "--repo", "me/data", "--push") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "the connection to" in error and "What arrived is kept. The same command goes on from there." in error
    repo = hub.repos["dataset", "me/data"]
    assert len(repo.history()) == 1 and len(repo.objects) == 3
    hub.faults.clear()
    hub.requests.clear()
    assert command(shards, "--repo", "me/data", "--push") == 0
    assert hub.sent("PUT /_storage/") == sum(path.stat().st_size for path in big) - sum(map(len, before_cut(repo, big)))
    assert len(repo.history()) == 2
    assert all(repo.read(path.name) == path.read_bytes() for path in big)


def before_cut(repo, big):
    """What the storage held before the cut: the first three of the large files."""
    return [path.read_bytes() for path in big[:3]]


def test_shards_of_an_earlier_version_do_not_stay(hub, shards, pairs):
    push(shards, "me/data")
    repo = hub.repos["dataset", "me/data"]
    assert sum(name.startswith("train-") for name in repo.at("main").files) == 4
    push(pairs, "me/data")
    assert [name for name in repo.at("main").files if name.startswith("train-")] == ["train-00000-of-00001.parquet"]


def test_large_files_go_up_in_parts(hub, run):
    hub.part_bytes = 50_000
    push(run)
    assert sum(r.method == "PUT" for r in hub.requests) == -(
        -(run / "model" / "model.safetensors").stat().st_size // 50_000
    )
    read = hub.repos["model", "me/name"].read("model.safetensors")
    assert read == (run / "hub" / "model.safetensors").read_bytes()


# what goes wrong


RIGHT_AFTER = 1000  # bytes


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("PUT /_storage/", times=6, cut=RIGHT_AFTER), r"the connection to .* What arrived is kept"),
        (Fault("POST .*/preupload/", times=6, cut=10), r"the connection to .* What arrived is kept"),
        (Fault("POST .*/commit/", cut=RIGHT_AFTER), r"the connection to .* What arrived is kept"),
        (Fault("PUT /_storage/", times=6, status=500), r"the Hub failed \(500: .*Try later: the same command goes on"),
        (Fault("POST .*/objects/batch", times=6, status=503), r"the Hub failed \(503: it went wrong"),
        (Fault("POST .*/commit/", status=503), r"the Hub failed \(503"),
        (Fault("POST .*/repos/create", status=500), r"the Hub failed \(500"),
        (
            Fault("POST .*/preupload/", times=6, status=429, headers={"Retry-After": "7"}),
            r"takes no more requests for now \(429\). Wait 7 s; what arrived is kept",
        ),
        (Fault("POST .*/commit/", status=412), r"'me/name' changed while this was uploaded .*; nothing was written"),
        (
            Fault("POST .*/commit/", status=403, error="Private repository storage limit reached"),
            r"the Hub has no space left for 'me/name' \(Private repository storage limit reached\)",
        ),
        (Fault("PUT /_storage/", status=507, error="full"), r"the Hub has no space left for 'me/name' \(full\)"),
        (Fault("GET .*/tree/", times=6, cut=10), r"the connection to .* What arrived is kept"),
    ],
)
def test_faults_get_one_line_and_the_same_command_goes_on(hub, run, capsys, fault, message):
    fault = replace(fault)
    hub.faults.append(fault)
    assert command(run, "--repo", "me/name", "--push", "--no-check") == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("coderep: ")]
    assert len(errors) == 1 and re.search(message, errors[0])
    assert TOKEN not in errors[0] and "signature" not in errors[0]
    assert fault.times == 0, "the fault was meant to last until the command gave up"
    repo = hub.repos.get(("model", "me/name"))
    assert repo is None or list(repo.at("main").files) == [".gitattributes"]
    assert command(run, "--repo", "me/name", "--push", "--no-check") == 0
    repo = hub.repos["model", "me/name"]
    assert len(repo.history()) == 2 and repo.read("README.md") == (run / "hub" / "README.md").read_bytes()


@pytest.mark.parametrize("fault", [Fault("PUT /_storage/", cut=1000), Fault("POST .*/preupload/", times=3, status=503)])
def test_short_faults_are_overcome(hub, run, capsys, fault):
    hub.faults.append(replace(fault))
    assert command(run, "--repo", "me/name", "--push", "--no-check") == 0
    assert hub.slept
    assert "signature" not in capsys.readouterr().err  # of the storage's URL: whoever has it may write there


def test_a_lost_answer_is_no_lost_commit(hub, run):
    """The commit was made, but we never heard: the same command finds it done, and no change of somebody else's."""
    push(run)
    write_json(run / "run.json", {**RUN, "tokens": 7_654_321})
    hub.faults.append(Fault("POST .*/commit/", lose_answer=True))
    with pytest.raises(PublishError, match="the connection to"):
        push(run)
    assert not push(run).pushed.changed
    assert len(hub.repos["model", "me/name"].history()) == 3


def test_no_space_on_the_hub(hub, run, capsys):
    hub.quota = 1000
    assert command(run, "--repo", "me/name", "--push", "--no-check") == 1
    assert (
        "the Hub has no space left for 'me/name' (Private repository storage limit reached" in capsys.readouterr().err
    )
    hub.quota = None
    assert command(run, "--repo", "me/name", "--push", "--no-check") == 0


def test_a_file_that_changes_here_meanwhile_is_not_committed(hub, run, capsys):
    def change():
        with (run / "hub" / "config.json").open("a") as file:
            file.write(" ")

    hub.faults.append(Fault("PUT /_storage/", call=change))
    assert command(run, "--repo", "me/name", "--push", "--no-check") == 1
    assert "'config.json' changed on this machine while it was uploaded; nothing was written" in capsys.readouterr().err
    assert len(hub.repos["model", "me/name"].history()) == 1
    assert command(run, "--repo", "me/name", "--push", "--no-check") == 0


def test_a_commit_of_somebody_else_meanwhile_is_not_overwritten(hub, run, capsys):
    push(run)
    write_json(run / "run.json", {**RUN, "tokens": 7_654_321})
    repo = hub.repos["model", "me/name"]
    change = {"notes.txt": Blob(b"theirs")}
    hub.faults.append(
        Fault("POST .*/preupload", call=lambda: repo.commit("theirs", {**repo.at("main").files, **change}))
    )
    assert command(run, "--repo", "me/name", "--push", "--no-check") == 1
    assert "'me/name' changed while this was uploaded" in capsys.readouterr().err
    assert repo.history()[0].message == "theirs"
    assert command(run, "--repo", "me/name", "--push", "--no-check") == 0
    assert repo.read("notes.txt") == b"theirs"


def test_a_change_on_the_hub_since_the_last_push_is_not_overwritten(hub, run, capsys):
    push(run)
    repo = hub.repos["model", "me/name"]
    repo.commit("on the web", {**repo.at("main").files, "README.md": Blob(b"# Mine")})
    assert command(run, "--repo", "me/name", "--push", "--no-check") == 1
    assert "'README.md' was changed in 'me/name' on the Hub since it was pushed from here" in capsys.readouterr().err
    assert repo.read("README.md") == b"# Mine"
    assert command(run, "--repo", "me/name", "--push", "--no-check", "--overwrite") == 0
    assert repo.read("README.md") == (run / "hub" / "README.md").read_bytes()


def test_repos_that_are_something_else(hub, run, capsys):
    hub.create("dataset", "me/name", private=True)
    assert command(run, "--repo", "me/name", "--push", "--no-check") == 2
    assert "repo 'me/name' exists as a dataset repo. Name another for this model." in capsys.readouterr().err
    hub.create("model", "you/theirs")
    assert command(run, "--repo", "you/theirs", "--push", "--public", "--no-check") == 1
    assert "the token may not write to 'you/theirs'" in capsys.readouterr().err
    assert command(run, "--repo", "you/new", "--push", "--no-check") == 1
    assert "the token may not write to 'you/new'" in capsys.readouterr().err
    hub.create("model", "lab/ours", private=True)  # with other content, and ours
    assert command(run, "--repo", "lab/ours", "--push", "--no-check") == 0
    assert ("model", "you/new") not in hub.repos and len(hub.repos["model", "you/theirs"].commits) == 1


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (None, "no Hub token on this machine. Make one with write access at https://huggingface.co/settings/tokens"),
        ("hf_wrong", "the Hub does not accept the token (Invalid credentials in Authorization header)"),
        ("hf_old", "the Hub does not accept the token (User Access Token is expired)"),
        ("hf_reader", "the token may not write to 'me/name' (You don't have the rights"),
    ],
)
def test_tokens(hub, run, monkeypatch, capsys, token, message):
    hub.users |= {"hf_old": User("me", expired=True), "hf_reader": User("me", role="read")}
    monkeypatch.setenv("HF_TOKEN", token) if token else monkeypatch.delenv("HF_TOKEN")
    assert command(run, "--repo", "me/name", "--push", "--no-check") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("coderep: ") and message in error and "hf auth login" in error
    assert token is None or token not in error
    assert hub.repos == {}
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert command(run, "--repo", "me/name", "--push", "--no-check") == 0


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("never"), "the Xet storage of http://127.0.0.1"),
        (Fault("GET .*/xet-write-token/", status=401), "the Hub does not accept the token (Unauthorized)"),
        (Fault("GET .*/xet-write-token/", status=403), "the token may not write to 'me/name' (Forbidden)"),
    ],
)
def test_errors_of_the_other_way_up(hub, run, monkeypatch, capsys, fault, message):
    """Large files go through hf_xet where it is installed, which has errors of its own."""
    pytest.importorskip("hf_xet")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    hub.faults.append(replace(fault))
    hub.xet = f"{hub.url}/_no_storage"
    assert command(run, "--repo", "me/name", "--push", "--no-check") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("coderep: ") and message in error and TOKEN not in error
    assert len(hub.repos["model", "me/name"].history()) == 1


def test_a_hub_without_xet_gets_large_files_by_lfs(hub, run, monkeypatch, tmp_path):
    """The client asks for Xet alone if hf_xet is installed; there and back the bytes go the other way then."""
    pytest.importorskip("hf_xet")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    push(run)
    asked = [request for request in hub.requests if "xet-write-token" in request.path]
    assert {request.status for request in asked} == {404} and hub.sent("PUT /_storage/") > 0
    repo, weights = hub.repos["model", "me/name"], (run / "hub" / "model.safetensors").read_bytes()
    assert len(repo.history()) == 2 and repo.read("model.safetensors") == weights
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    assert Path(hf_hub_download("me/name", "model.safetensors", cache_dir=tmp_path / "cache")).read_bytes() == weights


@pytest.mark.parametrize("metadata", ["license: [", "license: nobodys"])
def test_a_card_that_the_hub_refuses_is_refused_before_the_upload(hub, run, capsys, metadata):
    publish_run(run, "me/name")
    (run / "hub" / "README.md").write_text(f"---\n{metadata}\n---\n# By hand\n")
    hub.licenses = ("apache-2.0", "mit", "other")
    assert command(run / "hub", "--repo", "me/name", "--push", "--no-check") == 2
    assert "the metadata at the top of README.md are not valid: " in capsys.readouterr().err
    assert hub.sent("_storage|commit") == 0
    hub.licenses = None
    (run / "hub" / "README.md").write_text("---\nlicense: mit\n---\n# By hand\n")
    assert command(run / "hub", "--repo", "me/name", "--push", "--no-check") == 0


def test_offline(hub, run, monkeypatch, capsys):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert command(run, "--repo", "me/name", "--push", "--no-check") == 1
    assert "HF_HUB_OFFLINE is set: nothing may leave this machine" in capsys.readouterr().err


# what may not leave


def test_pickles_are_refused(run, tmp_path, capsys):
    publish_run(run, "me/name")
    exported = run / "hub"
    arrays = np.array([{"a": 1}], dtype=object)
    np.save(tmp_path / "objects.npy", arrays, allow_pickle=True)
    np.save(tmp_path / "numbers.npy", np.zeros(3))
    torch.save({"a": torch.zeros(1)}, tmp_path / "torch.pt")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps([1]))
    for name, disguise in (
        ("torch.pt", "pytorch_model.bin"),
        ("torch.pt", "model-2.safetensors"),
        ("plain.pkl", "data.json"),
        ("plain.pkl", "onnx.pkl"),
        ("objects.npy", "objects.npy"),
    ):
        shutil.copy(tmp_path / name, exported / disguise)
        assert command(exported, "--repo", "me/name") == 2
        error = capsys.readouterr().err
        assert f"{disguise!r} is not published" in error.replace(f"{exported}/", "") and "safetensors" in error
        (exported / disguise).unlink()
    shutil.copy(tmp_path / "numbers.npy", exported)
    assert command(exported, "--repo", "me/name") == 0
    assert "stays here, no part of a model: numbers.npy" in capsys.readouterr().out
    assert pickle_reason(exported / "model.safetensors") is None


def test_links_to_elsewhere_are_refused(run, tmp_path, capsys):
    publish_run(run, "me/name")
    exported, secret = run / "hub", tmp_path / "secrets"
    secret.mkdir()
    (secret / "model.onnx").write_text("private")
    for link, target in (("secret.json", secret / "model.onnx"), ("gone.json", tmp_path / "gone"), ("onnx", secret)):
        (exported / link).symlink_to(target)
        assert command(exported, "--repo", "me/name") == 2
        assert "is a link to outside of the folder" in capsys.readouterr().err
        (exported / link).unlink()
    (run / "model").unlink()
    shutil.copytree(exported, run / "model")
    (run / "model" / "vocab.txt").symlink_to(secret / "model.onnx")  # a layout would have a copy of it
    assert command(run, "--repo", "me/name") == 2
    assert "vocab.txt' is a link to outside of the folder" in capsys.readouterr().err
    assert not (exported / "vocab.txt").exists()
    (exported / "copy.json").symlink_to("config.json")  # inside
    assert command(exported, "--repo", "me/name") == 0
    assert "copy.json" in capsys.readouterr().out


def test_state_of_training_goes_without_links_and_tokens(tmp_path):
    checkpoint = tmp_path / "run" / "checkpoint-2"
    checkpoint.mkdir(parents=True)
    for name, content in (("optimizer.pt", "PK"), ("trainer_state.json", '{"global_step": 2}')):
        (checkpoint / name).write_text(content)
    state = {f"last-checkpoint/{path.name}": path for path in sorted(checkpoint.iterdir())}
    assert [(file.path, file.size) for file in state_files(state)] == [
        ("last-checkpoint/optimizer.pt", 2),
        ("last-checkpoint/trainer_state.json", 18),
    ]
    (checkpoint / "trainer_state.json").write_text(json.dumps({"note": TOKEN}))
    with pytest.raises(ValueError, match=r"trainer_state.json' holds a Hub token"):
        state_files(state)
    (tmp_path / "secret").write_text("private")
    (checkpoint / "optimizer.pt").unlink()
    (checkpoint / "optimizer.pt").symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match=r"optimizer.pt' is a link to outside of the folder"):
        state_files(state)


def test_no_token_gets_anywhere(hub, run, monkeypatch, capsys, caplog):
    """Neither into output, logs, cards, records and exceptions, nor out of a file that holds one."""
    caplog.set_level("DEBUG")
    monkeypatch.setattr(constants, "HF_DEBUG", True)
    hub.users["hf_mistyped"] = User("me", role="read")
    hub.faults += [
        Fault("PUT /_storage/", cut=10),
        Fault("POST .*/commit/", status=400, error=f'User Access Token "{TOKEN}" is odd'),
    ]
    said = ""
    for argv in (
        (run, "--repo", "me/name", "--push", "--no-check"),  # breaks
        (run, "--repo", "me/name", "--push", "--no-check"),
        (run, "--repo", f"https://me:{TOKEN}@huggingface.co/me/name", "--push"),
        (run, "--repo", f"me/{TOKEN}", "--push", "--no-check"),
    ):
        command(*argv)
    with pytest.raises(SystemExit):
        command(run, "--repo", "me/name", "--token", TOKEN)
    captured = capsys.readouterr()
    said += captured.out + captured.err + caplog.text
    assert "*** is odd" in said.replace('"', "") and "repo must be owner/name, got 'https://***@huggingface.co" in said
    hub.faults.append(Fault("POST .*/commit/", status=400, error=f"token {TOKEN}"))
    write_json(run / "run.json", {**RUN, "tokens": 7_654_321})
    with pytest.raises(PublishError) as caught:
        push(run)
    error = caught.value
    said += "".join(traceback.format_exception(error)) + repr(error) + repr(error.__context__) + repr(error.__cause__)
    for path in run.rglob("*.*"):
        said += path.read_bytes().decode("latin-1") if path.is_file() else ""
    assert TOKEN not in said and "signature=secret" not in said
    assert len(said) > 10_000 and "Request" in said, "nothing was said that could have held it"


def test_a_token_in_a_file_or_record_stops_the_publication(hub, run, capsys):
    write_json(run / "run.json", {**RUN, "recipe": {"hub_token": TOKEN, "run_name": f"mine {TOKEN}", "seed": TOKEN}})
    try:
        publish_run(run, "me/name")
    except ValueError as error:
        assert TOKEN not in str(error)
    else:
        assert TOKEN not in (run / "hub" / "README.md").read_text()
    write_json(run / "run.json", RUN)
    publish_run(run, "me/name")
    (run / "hub" / "notes.md").write_text("my other token: hf_" + "A1b2" * 9)
    assert command(run / "hub", "--repo", "me/name", "--push", "--no-check") == 2
    assert "notes.md' holds a Hub token" in capsys.readouterr().err
    assert hub.requests == []


@pytest.mark.parametrize("token", [TOKEN, "hf_" + "A1b2" * 9])
@pytest.mark.parametrize("column", ["text", "negatives", "meta"])
def test_a_token_in_a_shard_stops_the_publication(hub, shards, token, column, capsys):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = sorted(shards.glob("train-*"))[2]
    rows = pq.read_table(path)
    last = [None] * (len(rows) - 1)
    values = {
        "text": pa.array([*rows["text"].to_pylist()[:-1], f"a {token}"]).dictionary_encode(),
        "negatives": pa.array([*last, ["fine", f"key = '{token}'"]]),
        "meta": pa.array([*last, {"number": 1, "lines": [{"said": token}]}]),
    }
    known = rows.drop_columns([column]) if column in rows.column_names else rows
    pq.write_table(known.append_column(column, values[column]), path)
    assert command(shards, "--repo", "me/data", "--push") == 2
    error = capsys.readouterr().err
    assert f"{path.name}' holds a Hub token in column '{column}', among rows 0 to {len(rows) - 1}" in error
    assert token not in error and hub.requests == []


def test_redact():
    assert redact("https://me:pass@host/x?signature=1 and hf_" + "x" * 20) == "https://***@host/x and ***"


@pytest.mark.parametrize("repo", ["name", "a/b/c", "me/na me", "../name", "me/..", "me/-x", "me/a--b", "me/x.git", ""])
def test_names_that_are_none(run, repo, capsys):
    assert command(run, "--repo", repo) == 2
    assert "repo" in capsys.readouterr().err
