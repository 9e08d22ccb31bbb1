"""Uploads to and downloads from a stand-in of the Hugging Face Hub, a server on this machine."""

import base64
import hashlib
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import joblib
import numpy as np
import pytest
import yaml

import ferkit
from ferkit import FERClassifier, evaluate
from ferkit.hub import load_from_hub, push_to_hub

huggingface_hub = pytest.importorskip("huggingface_hub")
from huggingface_hub import constants  # noqa: E402
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError  # noqa: E402
from huggingface_hub.repocard_data import model_index_to_eval_results  # noqa: E402

TOKEN = "hf_a_token_that_may_write"


class Hub(BaseHTTPRequestHandler):
    """Answers the requests of create_repo, create_commit and hf_hub_download, for one user with one token."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, content=b"", **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        headers = {"Content-Length": str(len(body)), **headers}
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def is_writer(self):
        return self.headers["Authorization"] == f"Bearer {TOKEN}"

    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        hub = self.server
        hub.requests.append((self.command, self.path))
        if hub.is_broken:
            return self.answer(503, {"error": "Down for maintenance"})
        if self.path == "/api/validate-yaml":
            return self.validate(json.loads(content)["content"])
        if not self.is_writer():
            return self.answer(401, {"error": "Invalid username or password."})
        if self.path == "/api/repos/create":
            given = json.loads(content)
            name = f"{given.get('organization', 'user')}/{given['name']}"
            status = 409 if name in hub.commits else 200
            hub.commits.setdefault(name, {})
            hub.is_private = given.get("private") or given.get("visibility") == "private"  # older and newer clients
            return self.answer(
                status, {"url": f"{hub.address}/{name}", "name": name, "error": "You already created it"}
            )
        name, action = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", self.path).groups()
        if action == "preupload":
            paths = [file["path"] for file in json.loads(content)["files"]]
            files = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]
            return self.answer(200, {"files": files})
        lines = [json.loads(line)["value"] for line in content.splitlines()]
        commit = hashlib.sha1(content + str(len(hub.commits[name])).encode()).hexdigest()
        hub.commits[name][commit] = {line["path"]: base64.b64decode(line["content"]) for line in lines[1:]}
        return self.answer(
            200, {"success": True, "commitOid": commit, "commitUrl": f"{hub.address}/{name}/commit/{commit}"}
        )

    def validate(self, readme):
        metadata = yaml.safe_load(readme.split("---\n")[1])
        known = {"license", "library_name", "pipeline_tag", "tags", "metrics", "model-index"}
        errors = [f"{key} is unknown" for key in metadata.keys() - known]
        errors += [] if metadata.get("license", "mit") in ("mit", "bsd-3-clause") else ["license must be one of …"]
        for entry in metadata.get("model-index", []):
            for result in entry["results"]:
                if (
                    not {"task", "dataset", "metrics"} <= result.keys()
                    or not {"type", "name"} <= result["dataset"].keys()
                ):
                    errors.append("a result is incomplete")
        messages = [{"message": error} for error in errors]
        self.answer(400 if errors else 200, {"errors": messages, "warnings": []})

    def do_GET(self):
        hub = self.server
        hub.requests.append((self.command, self.path))
        if hub.is_broken:
            return self.answer(503, {"error": "Down for maintenance"})
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        if found is None:
            return self.answer(404)
        name, revision, path = found.groups()
        commits = hub.commits.get(name)
        if commits is None or (hub.is_private and not self.is_writer()):
            return self.answer(401, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        commit = [*commits][-1] if revision == "main" else revision
        if commit not in commits:
            return self.answer(404, X_Error_Code="RevisionNotFound")
        if path not in commits[commit]:
            return self.answer(404, X_Error_Code="EntryNotFound")
        file = commits[commit][path]
        return self.answer(200, file, ETag=f'"{hashlib.sha1(file).hexdigest()}"', X_Repo_Commit=commit)

    do_HEAD = do_GET


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The server. ``commits`` holds the files of each commit of each repository."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.commits, server.requests, server.is_private, server.is_broken = {}, [], False, False
    server.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    # huggingface_hub has read the environment when it was imported
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace("https://huggingface.co", server.address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def newest(hub, name="user/name"):
    return [*hub.commits[name].values()][-1]


def test_a_model_comes_back_as_it_was(hub, fitted, faces):
    commit = push_to_hub(fitted, "user/name")
    assert [*hub.commits["user/name"]] == [commit]
    assert set(newest(hub)) == {"model.ferkit", "README.md"}
    loaded = load_from_hub("user/name")
    np.testing.assert_array_equal(loaded.predict_proba(faces.data[:20]), fitted.predict_proba(faces.data[:20]))


def test_a_commit_pins_the_model(hub, fitted, tiny, faces):
    first = push_to_hub(fitted, "user/name")
    second = push_to_hub(FERClassifier(max_epochs=3), "user/name")
    assert first != second
    assert load_from_hub("user/name").max_epochs == 3
    assert load_from_hub("user/name", revision=first).max_epochs == fitted.max_epochs
    assert load_from_hub("user/name", revision=second).max_epochs == 3


def test_the_card_has_the_text_and_the_metadata_of_the_hub(hub, fitted, faces):
    report = evaluate(fitted, faces.data, faces.target_names[faces.target])
    push_to_hub(
        fitted,
        "user/my-model",
        card="# My model\n\nTrained on *drawn* faces.",
        reports={"Drawn faces": report},
        license="bsd-3-clause",
        tags=["drawn", "emotion-recognition"],
        private=True,
    )
    assert hub.is_private
    _, metadata, text = newest(hub, "user/my-model")["README.md"].decode().split("---\n", 2)
    assert text.startswith("\n# My model\n\nTrained on *drawn* faces.")
    assert "| classes | angry, disgust" in text
    metadata = yaml.safe_load(metadata)
    assert metadata["license"] == "bsd-3-clause"
    assert metadata["library_name"] == "ferkit"
    assert metadata["pipeline_tag"] == "image-classification"
    assert metadata["tags"] == ["facial-expression-recognition", "emotion-recognition", "drawn"]
    name, results = model_index_to_eval_results(metadata["model-index"])
    assert name == "my-model"
    assert {(result.dataset_type, result.dataset_name) for result in results} == {("drawn-faces", "Drawn faces")}
    assert {result.metric_type: result.metric_value for result in results} == {
        "accuracy": report.accuracy,
        "f1": report.macro_f1,
    }


def test_a_license_that_the_hub_does_not_know_is_refused(hub):
    with pytest.raises(ValueError, match="license must be one of"):
        push_to_hub(FERClassifier(), "user/name", license="mine")
    assert hub.commits == {"user/name": {}}


def test_only_models_without_code_are_uploaded(hub, tiny, tmp_path):
    joblib.dump(FERClassifier(), tmp_path / "model.joblib")
    with pytest.raises(TypeError, match=r"ferkit\.load"):
        push_to_hub(tmp_path / "model.joblib", "user/name")
    with pytest.raises(TypeError, match=r"joblib\.dump"):
        push_to_hub(FERClassifier(callbacks=[print]), "user/name")
    assert not hub.requests, "a model is refused before anything is sent"


def test_only_files_without_code_are_downloaded(hub, fitted):
    push_to_hub(fitted, "user/name")
    newest(hub)["model.joblib"] = newest(hub).pop("model.ferkit")
    with pytest.raises(FileNotFoundError, match=r"Expected the file model\.ferkit in user/name"):
        load_from_hub("user/name")


def test_damaged_files_are_refused(hub, fitted):
    push_to_hub(fitted, "user/name")
    newest(hub)["model.ferkit"] = newest(hub)["model.ferkit"][:-1000]
    with pytest.raises(ValueError, match="damaged"):
        load_from_hub("user/name")


def test_a_token_is_needed_to_write_and_for_private_models(hub, monkeypatch):
    with pytest.raises(HfHubHTTPError, match="401"):
        push_to_hub(FERClassifier(), "user/name", token="hf_of_somebody_else")
    assert not hub.commits
    push_to_hub(FERClassifier(), "user/name", private=True)
    with pytest.raises(RepositoryNotFoundError, match="authenticated"):
        load_from_hub("user/name", token=False)
    monkeypatch.delenv("HF_TOKEN")
    assert isinstance(load_from_hub("user/name", token=TOKEN), FERClassifier)


def test_failures_of_the_hub_are_raised(hub, monkeypatch):
    push_to_hub(FERClassifier(), "user/name")
    with pytest.raises(RepositoryNotFoundError):
        load_from_hub("user/other")
    with pytest.raises(HfHubHTTPError):
        load_from_hub("user/name", revision="v9")
    hub.is_broken = True
    monkeypatch.setattr("time.sleep", lambda _: None)  # between attempts
    with pytest.raises(HfHubHTTPError, match="503"):
        push_to_hub(FERClassifier(), "user/name")
    with pytest.raises(LocalEntryNotFoundError, match="check your connection"):
        load_from_hub("user/name")


def test_a_downloaded_model_needs_no_second_download(hub, fitted):
    commit = push_to_hub(fitted, "user/name")
    load_from_hub("user/name", revision=commit)
    hub.requests.clear()
    load_from_hub("user/name", revision=commit)
    assert not hub.requests


def test_without_huggingface_hub_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (lambda: load_from_hub("user/name"), lambda: push_to_hub(FERClassifier(), "user/name")):
        with pytest.raises(ImportError, match=r"ferkit\[hub\]"):
            call()


def test_other_functions_never_ask_the_hub(hub, fitted, tmp_path):
    ferkit.save(fitted, tmp_path / "model.ferkit")
    ferkit.load(tmp_path / "model.ferkit")
    with pytest.raises(ValueError, match="Expected one of"):
        ferkit.load_model("user/name")
    assert not hub.requests
