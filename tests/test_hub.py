"""The way over the hub, against a small hub on this computer's loopback.

`huggingface_hub` reads HF_ENDPOINT when it is imported, so what opens a name
runs in a process of its own.
"""

import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from transformers import BertTokenizer as TheirTokenizer

from bert import BertForMaskedLM, BertTokenizer
from bookkit.random_base import SMALL, write_checkpoint

ROOT = Path(__file__).parents[1]
COMMIT = "5" * 40
TENSORS = "model.safetensors"


@dataclass
class Hub:
    """Repositories by name, and what goes wrong with them."""

    repositories: dict[str, Path]
    # How much of the tensors' file is sent before the connection closes.
    breaks: dict[str, list[float]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""


class Answer(http.server.BaseHTTPRequestHandler):
    """The four requests of the hub that fetching a snapshot needs."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.hub.asked.append(f"{self.command} {path}")
        about = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(\w+)/\w+", path)
        held = re.fullmatch(rf"/([^/]+/[^/]+)/resolve/{COMMIT}/(.+)", path)
        known = self.hub.repositories
        if about and about[1] in known and about[2] == "revision":
            self.send_json({"id": about[1], "sha": COMMIT, "siblings": []})
        elif about and about[1] in known and about[2] == "tree":
            self.send_json(listing(known[about[1]]))
        elif held and held[1] in known:
            self.send_file(held[1], known[held[1]] / held[2])
        else:
            self.send_nothing()

    do_HEAD = do_GET

    def send_json(self, value: object) -> None:
        """Answer a question about a repository."""
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_file(self, name: str, path: Path) -> None:
        """Send a file, or the rest of it, or break off."""
        content = path.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", span)
        self.end_headers()
        if self.command == "HEAD":
            return
        left = self.hub.breaks.get(name, [])
        stop = len(content)
        if path.name == TENSORS and left:
            stop = int(left.pop(0) * len(content))
            self.close_connection = True
        self.wfile.write(content[start:stop])

    def send_nothing(self) -> None:
        """There is no such thing here."""
        self.send_response(404)
        if "/api/models/" in self.path:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()


def listing(folder: Path) -> list[dict]:
    """The files of a repository, as the hub lists them."""
    return [
        {
            "type": "file",
            "path": path.relative_to(folder).as_posix(),
            "size": path.stat().st_size,
            "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


PROGRAM = """
import json, sys
import torch
from bert import BertForMaskedLM, BertTokenizer

answers = {}
for name in sys.argv[1:]:
    try:
        tokenizer = BertTokenizer.from_pretrained(name)
        model = BertForMaskedLM.from_pretrained(name)
        batch = tokenizer("a b [MASK].", return_tensors="pt")
        with torch.inference_mode():
            answers[name] = model(**batch).logits.tolist()
    except (OSError, ValueError) as error:
        answers[name] = f"{type(error).__name__}: {error}"
print(json.dumps(answers))
"""


def open_names(url: str, cache: Path, *names: str, **environment: str) -> dict:
    """Open hub names in a process of its own: logits, or what was said."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, *names],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "code"),
            "HF_ENDPOINT": url,
            "HF_HOME": str(cache),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
            "OMP_NUM_THREADS": "1",
        }
        | environment,
        cwd=cache,  # no name is a folder here
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with good, sharded, broken and foreign repositories."""
    root = tmp_path_factory.mktemp("hub")
    names = ["whole", "resumed", "cut", "short", "pickled", "foreign"]
    names += ["adding", "renaming"]
    for name in names:
        write_checkpoint(root / name, SMALL)
    write_checkpoint(root / "sharded", SMALL, layout="sharded")
    names.append("sharded")
    # As transformers 5 saves it: the vocabulary in tokenizer.json alone.
    for name in ("saved", "contradicting"):
        theirs = TheirTokenizer.from_pretrained(root / "whole")
        write_checkpoint(root / name, SMALL)
        (root / name / "vocab.txt").unlink()
        theirs.save_pretrained(root / name)
        assert not (root / name / "vocab.txt").exists()
        names.append(name)
    settings = root / "contradicting" / "tokenizer_config.json"
    stored = json.loads(settings.read_text("utf-8"))
    settings.write_text(json.dumps(stored | {"do_lower_case": False}))
    # The tokenizer's other files, which must be fetched to be refused.
    (root / "adding" / "added_tokens.json").write_text('{"blorp": 99}')
    renamed = json.dumps({"mask_token": "[unused1]"})
    (root / "renaming" / "special_tokens_map.json").write_text(renamed)
    # What other frameworks need, and the package must not fetch.
    (root / "whole" / "pytorch_model.bin").write_bytes(b"not to be fetched")
    (root / "whole" / "onnx").mkdir()
    (root / "whole" / "onnx" / "config.json").write_text("{}")
    (root / "whole" / "README.md").write_text("# A model card\n")
    # Uploaded broken: the hub serves it whole, and it is no whole file.
    short = root / "short" / TENSORS
    short.write_bytes(short.read_bytes()[:-5])
    (root / "pickled" / TENSORS).rename(root / "pickled" / "pytorch_model.bin")
    config = json.dumps(SMALL | {"model_type": "roberta"})
    (root / "foreign" / "config.json").write_text(config)

    hub = Hub(
        {f"tests/{name}": root / name for name in names},
        breaks={"tests/resumed": [0.5], "tests/cut": [0.5] * 20},
    )
    handler = type("Handler", (Answer,), {"hub": hub})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where fetched files are kept."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def answers(hub: Hub, cache: Path) -> dict:
    """What comes of each repository, and of one that is not there."""
    names = [*hub.repositories, "tests/absent"]
    return open_names(hub.url, cache, *names)


def logits_of(folder: Path) -> torch.Tensor:
    """What the same checkpoint says when it is opened as a folder."""
    batch = BertTokenizer.from_pretrained(folder)(
        "a b [MASK].", return_tensors="pt"
    )
    model = BertForMaskedLM.from_pretrained(folder)
    with torch.inference_mode():
        return model(**batch).logits


@pytest.mark.parametrize("name", ["whole", "sharded", "resumed", "saved"])
def test_a_checkpoint_from_the_hub_is_the_one_in_the_folder(
    hub, answers, name
):
    found = answers[f"tests/{name}"]
    assert isinstance(found, list), found
    expected = logits_of(hub.repositories[f"tests/{name}"])
    assert torch.tensor(found).shape == expected.shape
    assert (torch.tensor(found) - expected).abs().max() < 1e-5


def test_only_what_is_needed_is_fetched(hub, answers):
    fetched = {
        line.rsplit("/resolve/" + COMMIT + "/")[1]
        for line in hub.asked
        if line.startswith("GET /tests/whole/resolve")
    }
    assert fetched == {
        "config.json",
        "vocab.txt",
        "tokenizer_config.json",
        TENSORS,
    }


def test_a_download_that_broke_off_is_resumed_not_begun_again(hub, answers):
    line = f"GET /tests/resumed/resolve/{COMMIT}/{TENSORS}"
    assert hub.asked.count(line) == 2
    assert not hub.breaks["tests/resumed"]


ADVICE = (
    "Check the name and the network, or give the path of a folder with "
    "config.json, vocab.txt and model.safetensors."
)


def test_a_download_that_stays_broken_says_what_to_do(answers):
    said = answers["tests/cut"]
    assert said.startswith("OSError: 'tests/cut' is no folder here, and fet")
    assert said.endswith(ADVICE)


def test_a_name_that_the_hub_lacks_says_what_to_do(answers):
    said = answers["tests/absent"]
    assert said.startswith("OSError: 'tests/absent' is no folder here, and f")
    assert "RepositoryNotFoundError" in said
    assert said.endswith(ADVICE)


def test_a_file_that_was_broken_before_it_was_fetched_is_refused(answers):
    said = answers["tests/short"]
    assert "model.safetensors is not a whole safetensors file" in said
    assert said.endswith("; fetch it again")


def test_a_repository_with_nothing_but_pickle_is_refused(hub, answers):
    assert "holds no model.safetensors" in answers["tests/pickled"]
    assert not any("pickled" in a and ".bin" in a for a in hub.asked)


def test_settings_that_disagree_are_refused_from_the_hub_too(answers):
    said = answers["tests/contradicting"]
    assert "wanted the same in both" in said


def test_tokens_that_a_repository_adds_or_renames_are_refused(answers):
    assert "'blorp' is added to the vocabulary" in answers["tests/adding"]
    assert "mask_token is '[unused1]'" in answers["tests/renaming"]


def test_a_repository_of_another_model_is_refused(answers):
    assert "model_type is 'roberta'" in answers["tests/foreign"]


@pytest.fixture(scope="module")
def unplugged(cache: Path, answers: dict) -> dict:
    """The same names later, with what was kept and without a network."""
    # Nothing listens on port 9 of the loopback.
    names = ["tests/whole", "tests/cut"]
    return open_names("http://127.0.0.1:9", cache, *names)


def test_what_was_fetched_once_needs_no_network(answers, unplugged):
    assert unplugged["tests/whole"] == answers["tests/whole"]


def test_half_a_checkpoint_is_not_taken_for_a_whole_one(unplugged):
    # Its configuration is there from the download that broke off.
    said = unplugged["tests/cut"]
    assert said.startswith("OSError: 'tests/cut' is no folder here")
    assert said.endswith(ADVICE)


@pytest.mark.parametrize("environment", [{}, {"HF_HUB_OFFLINE": "1"}])
def test_without_network_and_without_a_copy_it_says_what_to_do(
    tmp_path, environment
):
    name = "tests/whole"
    said = open_names("http://127.0.0.1:9", tmp_path, name, **environment)
    assert said[name].startswith("OSError: 'tests/whole' is no folder here")
    assert said[name].endswith(ADVICE)
