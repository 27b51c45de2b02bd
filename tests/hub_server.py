"""A small Hub on loopback: enough of huggingface.co's API for `huggingface_hub`, transformers and datasets.

Repos are lists of commits in memory; a commit is applied whole or not at all. Files of many bytes go to a storage under
another host name (`localhost`, the Hub being `127.0.0.1`), as on the real Hub: no credentials may arrive there.

    with HubServer() as hub:
        hub.users["hf_abc"] = User("me")
        hub.faults.append(Fault("PUT /_storage/", cut=1000))
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

LARGE = (".safetensors", ".parquet", ".onnx", ".onnx_data", ".arrow", ".png", ".bin", ".pt")
LARGE_BYTES = 10_000_000
TREE_PAGE = 1000
_CUT = object()


@dataclass
class User:
    """Whom a token belongs to."""

    name: str
    role: str = "write"  # or "read"
    expired: bool = False
    orgs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Blob:
    """A file of a commit: its content, or the digest of an object in the storage."""

    content: bytes = b""
    sha256: str = ""
    size: int = 0

    @property
    def oid(self) -> str:
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()
        data = pointer if self.sha256 else self.content
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass(frozen=True)
class Commit:
    oid: str
    message: str
    parent: str | None
    files: dict[str, Blob]
    when: str


@dataclass
class Repo:
    kind: str  # "model" or "dataset"
    id: str
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)  # the storage, by SHA-256

    def commit(self, message: str, files: dict[str, Blob], branch: str = "main") -> Commit:
        parent = self.branches.get(branch)
        when = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        seed = json.dumps([parent, message, {path: blob.oid for path, blob in files.items()}, len(self.commits)])
        commit = Commit(hashlib.sha1(seed.encode()).hexdigest(), message, parent, files, when)
        self.commits[commit.oid] = commit
        self.branches[branch] = commit.oid
        return commit

    def at(self, revision: str) -> Commit | None:
        oid = self.branches.get(revision.removeprefix("refs/heads/")) or self.tags.get(revision) or revision
        return self.commits.get(oid)

    def read(self, path: str, revision: str = "main") -> bytes:
        return self.bytes_of(self.at(revision).files[path])

    def bytes_of(self, blob: Blob) -> bytes:
        return self.objects[blob.sha256] if blob.sha256 else blob.content

    def history(self, branch: str = "main") -> list[Commit]:
        """The commits of a branch, the newest first."""
        found, oid = [], self.branches.get(branch)
        while oid:
            found.append(self.commits[oid])
            oid = found[-1].parent
        return found


@dataclass
class Fault:
    """What goes wrong with requests whose `METHOD /path` matches, after `skip` of them, `times` times.

    One of: `status` (with `headers` and `error`), `cut` (the connection ends after that many bytes of the request's
    body, or of the answer's where it has none), `call` (something happens meanwhile; the request then goes on),
    `lose_answer` (the request is carried out, and the connection ends).
    """

    match: str
    times: int = 1
    skip: int = 0
    status: int | None = None
    error: str = "it went wrong"
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    call: Callable[[], None] | None = None
    lose_answer: bool = False


@dataclass
class Request:
    method: str
    path: str
    authorization: str | None
    sent: int = 0  # bytes of body that arrived
    status: int | None = None
    host: str = ""


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class HubServer:
    """The server; `repos`, `users`, `faults` and `requests` are there to be set up and looked at."""

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.users: dict[str, User] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.quota: int | None = None  # bytes that the storage takes
        self.part_bytes: int | None = None  # larger files go up in parts
        self.page = TREE_PAGE
        self.xet: str | None = None  # address of the storage that is offered besides; None offers none
        self.licenses: tuple[str, ...] | None = None  # that a card may name; None takes any
        self.parts: dict[str, dict[int, bytes]] = {}
        self.lock = threading.RLock()
        server = self

        class Handler(_Handler):
            hub = server

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_port
        self.url, self.storage_url = f"http://127.0.0.1:{self.port}", f"http://localhost:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def create(self, kind: str, repo_id: str, private: bool = False) -> Repo:
        repo = self.repos[kind, repo_id] = Repo(kind, repo_id, private)
        repo.commit("initial commit", {".gitattributes": Blob(b"*.safetensors filter=lfs\n")})
        return repo

    def sent(self, match: str = "") -> int:
        """Bytes of body that arrived with requests that match."""
        return sum(request.sent for request in self.requests if re.search(match, f"{request.method} {request.path}"))

    def fault_for(self, what: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if not re.search(fault.match, what) or fault.times <= 0:
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    # the frame of every request

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        self.route, self.query = parts.path, parse_qs(parts.query)
        host = self.headers.get("Host", "").partition(":")[0]
        self.record = Request(self.command, self.route, self.headers.get("Authorization"), host=host)
        self.hub.requests.append(self.record)
        fault = self.hub.fault_for(f"{self.command} {self.route}")
        self.answer_cut = None
        try:
            has_body = "Content-Length" in self.headers or "Transfer-Encoding" in self.headers
            self.body = self._read_body(fault.cut if fault and has_body else None)
            if self.body is _CUT:
                return self._hang_up()
            if fault and fault.status:
                return self._send(fault.status, {"error": fault.error}, **fault.headers)
            if fault and fault.call:
                fault.call()
            if fault and fault.cut is not None:
                self.answer_cut = fault.cut
            self.silent = bool(fault and fault.lose_answer)
            self._dispatch()
        except Refused as error:
            headers = {"X-Error-Message": str(error), **({"X-Error-Code": error.code} if error.code else {})}
            self._send(error.status, {"error": str(error)}, **headers)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _read_body(self, cut: int | None) -> bytes | object:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            length = int(self.headers.get("Content-Length") or 0)
            data = self.rfile.read(length if cut is None else min(cut, length))
        self.record.sent = len(data)
        return data if cut is None else _CUT

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, status: int, body: object = None, **headers: str) -> None:
        if getattr(self, "silent", False):
            return self._hang_up()
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.record.status = status
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        given = {"Content-Type": kind, "Content-Length": str(len(data)), "X-Request-Id": "test", **headers}
        for name, value in given.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.answer_cut is not None:
            self.wfile.write(data[: self.answer_cut])
            return self._hang_up()
        self.wfile.write(data)

    def _dispatch(self) -> None:
        if self.route.startswith("/_storage/"):
            return self._storage()
        if self.record.host != "127.0.0.1":
            raise Refused(421, f"not the Hub: {self.record.host}")
        for method, pattern, handler in _ROUTES:
            match = re.fullmatch(pattern, self.route)
            if match and (self.command == method or (method, self.command) == ("GET", "HEAD")):
                return handler(self, *(unquote(group) if group is not None else None for group in match.groups()))
        raise Refused(404, f"no such route: {self.command} {self.route}")

    # who may do what

    def _user(self) -> User | None:
        header = self.headers.get("Authorization")
        if header is None:
            return None
        user = self.hub.users.get(header.removeprefix("Bearer "))
        if user is None:
            raise Refused(401, "Invalid credentials in Authorization header")
        if user.expired:
            raise Refused(401, "User Access Token is expired")
        return user

    def _writer(self, namespace: str) -> User:
        user = self._user()
        if user is None:
            raise Refused(401, "Invalid username or password.")
        if user.role != "write" or namespace not in (user.name, *user.orgs):
            raise Refused(403, f'You don\'t have the rights to write under the namespace "{namespace}"')
        return user

    def _repo(self, kind: str | None, repo_id: str, write: bool = False) -> Repo:
        repo = self.hub.repos.get(((kind or "models").removesuffix("s"), repo_id))
        user = self._user()
        owner = repo_id.partition("/")[0]
        hidden = repo is not None and repo.private and (user is None or owner not in (user.name, *user.orgs))
        if repo is None or hidden:
            raise Refused(401 if user is None else 404, "Repository not found", "RepoNotFound")
        if write:
            self._writer(owner)
        return repo

    def _commit_at(self, repo: Repo, revision: str) -> Commit:
        commit = repo.at(revision)
        if commit is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    def _json(self) -> dict:
        return json.loads(self.body or b"{}")

    # accounts and repos

    def whoami(self) -> None:
        user = self._user()
        if user is None:
            raise Refused(401, "Invalid username or password.")
        auth = {"type": "access_token", "accessToken": {"displayName": "test", "role": user.role}}
        orgs = [{"name": org, "type": "org", "roleInOrg": "write"} for org in user.orgs]
        self._send(200, {"type": "user", "name": user.name, "orgs": orgs, "auth": auth})

    def create_repo(self) -> None:
        wanted = self._json()
        user = self._user()
        namespace = wanted.get("organization") or (user.name if user else "")
        self._writer(namespace)
        kind, repo_id = wanted.get("type") or "model", f"{namespace}/{wanted['name']}"
        url = f"{self.hub.url}/{'datasets/' if kind == 'dataset' else ''}{repo_id}"
        with self.hub.lock:
            if (kind, repo_id) in self.hub.repos:
                exists = f"You already created this {kind} repo: {repo_id}"
                return self._send(409, {"error": exists, "url": url, "name": repo_id})
            private = wanted.get("private") or wanted.get("visibility") == "private"
            self.hub.create(kind, repo_id, private=bool(private))
        self._send(200, {"url": url, "name": repo_id, "id": "0"})

    def validate_yaml(self) -> None:
        import yaml

        content = self._json()["content"]
        try:
            data = yaml.safe_load(content.split("---")[1] if content.startswith("---") else "") or {}
        except yaml.YAMLError as error:
            return self._send(400, {"errors": [{"message": str(error)}], "warnings": []})
        if self.hub.licenses and data.get("license") not in self.hub.licenses:
            return self._send(400, {"errors": [{"message": f'"license" must be one of {self.hub.licenses}'}]})
        self._send(200, {"errors": [], "warnings": []})

    def info(self, kind: str, repo_id: str, revision: str | None = None) -> None:
        repo = self._repo(kind, repo_id)
        commit = self._commit_at(repo, revision or "main")
        dates = {"createdAt": commit.when, "lastModified": commit.when}
        siblings = [
            {"rfilename": path, "size": blob.size or len(blob.content), "blobId": blob.oid}
            | ({"lfs": {"sha256": blob.sha256, "size": blob.size, "pointerSize": 134}} if blob.sha256 else {})
            for path, blob in sorted(commit.files.items())
        ]
        names = {"_id": "0", "id": repo.id, "author": repo.id.partition("/")[0], "tags": [], "siblings": siblings}
        flags = {"private": repo.private, "gated": False, "disabled": False, "downloads": 0, "likes": 0}
        if repo.kind == "model":
            names["modelId"] = repo.id
        self._send(200, {**names, "sha": commit.oid, **flags, **dates})

    def refs(self, kind: str, repo_id: str) -> None:
        repo = self._repo(kind, repo_id)
        refs = {
            name: [{"name": key, "ref": f"refs/{ref}/{key}", "targetCommit": oid} for key, oid in where.items()]
            for name, ref, where in (("branches", "heads", repo.branches), ("tags", "tags", repo.tags))
        }
        self._send(200, {**refs, "converts": [], "pullRequests": []})

    def create_branch(self, kind: str, repo_id: str, branch: str) -> None:
        repo = self._repo(kind, repo_id, write=True)
        if branch in repo.branches:
            raise Refused(409, f"Reference already exists: refs/heads/{branch}")
        repo.branches[branch] = self._commit_at(repo, self._json().get("startingPoint") or "main").oid
        self._send(201, {})

    def delete_branch(self, kind: str, repo_id: str, branch: str) -> None:
        self._repo(kind, repo_id, write=True).branches.pop(branch, None)
        self._send(200, {})

    def create_tag(self, kind: str, repo_id: str, revision: str) -> None:
        repo = self._repo(kind, repo_id, write=True)
        repo.tags[self._json()["tag"]] = self._commit_at(repo, revision).oid
        self._send(201, {})

    # listing and reading

    @staticmethod
    def _entry(path: str, blob: Blob) -> dict:
        entry = {"type": "file", "oid": blob.oid, "size": blob.size or len(blob.content), "path": path}
        if blob.sha256:
            entry["lfs"] = {"oid": blob.sha256, "size": blob.size, "pointerSize": 134}
        return entry

    def _entries(self, files: dict[str, Blob], under: str, recursive: bool) -> list[dict]:
        prefix = f"{under.strip('/')}/" if under and under.strip("/") else ""
        found: dict[str, dict] = {}
        for path, blob in sorted(files.items()):
            if not path.startswith(prefix):
                continue
            parts = path[len(prefix) :].split("/")
            for depth in range(1, len(parts)):
                folder = prefix + "/".join(parts[:depth])
                if recursive or depth == 1:
                    found[folder] = {"type": "directory", "oid": "0" * 40, "size": 0, "path": folder}
            if recursive or len(parts) == 1:
                found[path] = self._entry(path, blob)
        if prefix and not found:
            raise Refused(404, f"{under} does not exist", "EntryNotFound")
        return list(found.values())

    def tree(self, kind: str, repo_id: str, revision: str, under: str | None = None) -> None:
        repo = self._repo(kind, repo_id)
        recursive = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries = self._entries(self._commit_at(repo, revision).files, under or "", recursive)
        start = int(self.query.get("cursor", ["0"])[0])
        headers = {}
        if start + self.hub.page < len(entries):
            more = f"{self.hub.url}{quote(self.route)}?recursive={recursive}&cursor={start + self.hub.page}"
            headers["Link"] = f'<{more}>; rel="next"'
        self._send(200, entries[start : start + self.hub.page], **headers)

    def paths_info(self, kind: str, repo_id: str, revision: str) -> None:
        repo = self._repo(kind, repo_id)
        is_json = "json" in self.headers.get("Content-Type", "")
        wanted = self._json()["paths"] if is_json else parse_qs(self.body.decode()).get("paths", [])
        files = self._commit_at(repo, revision).files
        entries = {entry["path"]: entry for entry in self._entries(files, "", recursive=True)}
        self._send(200, [entries[path] for path in wanted if path in entries])

    def resolve(self, kind: str | None, repo_id: str, revision: str, path: str) -> None:
        repo = self._repo(kind, repo_id)
        commit = self._commit_at(repo, revision)
        headers = {"X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
        if path not in commit.files:
            refusal = {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            return self._send(404, b"Entry not found", **headers, **refusal)
        blob = commit.files[path]
        if blob.sha256:
            where = f"{self.hub.storage_url}/_storage/{repo.kind}/{quote(repo.id, safe='')}/{blob.sha256}?signature=1"
            linked = {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(blob.size)}
            return self._send(302, b"", Location=where, ETag=f'"{blob.oid}"', **linked, **headers)
        self._send_part(repo.bytes_of(blob), ETag=f'"{blob.oid}"', **headers)

    def _send_part(self, data: bytes, **headers: str) -> None:
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not match:
            return self._send(200, data, **headers)
        first, last = match.groups()
        start = int(first) if first else max(0, len(data) - int(last))
        end = min(int(last), len(data) - 1) if first and last else len(data) - 1
        if start >= len(data):
            return self._send(416, b"", **{"Content-Range": f"bytes */{len(data)}"})
        self._send(206, data[start : end + 1], **headers, **{"Content-Range": f"bytes {start}-{end}/{len(data)}"})

    # writing

    def preupload(self, kind: str, repo_id: str, revision: str) -> None:
        repo = self._repo(kind, repo_id, write=True)
        files, answers = self._commit_at(repo, revision).files, []
        for file in self._json()["files"]:
            large = file["path"].endswith(LARGE) or file["size"] > LARGE_BYTES
            answer = {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
            if blob := files.get(file["path"]):
                answer["oid"] = blob.sha256 or blob.oid
            answers.append(answer)
        self._send(200, {"files": answers})

    def xet_token(self, kind: str, repo_id: str, revision: str) -> None:
        self._repo(kind, repo_id, write=True)
        if self.hub.xet is None:
            raise Refused(404, "no such route")
        named = {"X-Xet-Cas-Url": self.hub.xet, "X-Xet-Access-Token": "xet", "X-Xet-Token-Expiration": str(2**33)}
        self._send(200, {"casUrl": self.hub.xet, "exp": 2**33, "accessToken": "xet"}, **named)

    def lfs_batch(self, kind: str | None, repo_id: str) -> None:
        repo = self._repo(kind, repo_id, write=True)
        batch = self._json()
        used = sum(len(data) for data in repo.objects.values())
        answers = []
        for item in batch["objects"]:
            answer = dict(item)
            if item["oid"] not in repo.objects:
                used += item["size"]
                where = f"{repo.kind}/{quote(repo.id, safe='')}/{item['oid']}"
                upload: dict = {"href": f"{self.hub.storage_url}/_storage/{where}?signature=secret"}
                if self.hub.part_bytes and item["size"] > self.hub.part_bytes:
                    count = -(-item["size"] // self.hub.part_bytes)
                    header = {f"{n:05}": f"{upload['href']}&part={n}" for n in range(1, count + 1)}
                    upload = {"href": f"{self.hub.url}/_complete/{where}"}
                    upload["header"] = {"chunk_size": str(self.hub.part_bytes), **header}
                verify = {"href": f"{self.hub.url}/_verify/{where}"}
                answer["actions"] = {"upload": upload, "verify": verify}
            answers.append(answer)
        if self.hub.quota is not None and used > self.hub.quota:
            raise Refused(403, "Private repository storage limit reached, please upgrade your plan.")
        self._send(200, {"transfer": "basic", "objects": answers})

    def _storage(self) -> None:
        """The other host: objects by digest, with no account."""
        if self.record.authorization is not None:
            raise Refused(400, "credentials do not belong here")
        kind, repo_id, oid = (unquote(part) for part in self.route.removeprefix("/_storage/").split("/"))
        repo = self.hub.repos[kind, repo_id]
        if self.command in ("GET", "HEAD"):
            return self._send_part(repo.objects[oid], ETag=f'"{oid}"')
        if part := self.query.get("part"):
            self.hub.parts.setdefault(oid, {})[int(part[0])] = self.body
        elif not self._keep(repo, oid, self.body):
            raise Refused(400, "the content does not have this digest")
        self._send(200, b"", ETag=f'"{hashlib.md5(self.body).hexdigest()}"')

    @staticmethod
    def _keep(repo: Repo, oid: str, data: bytes) -> bool:
        if hashlib.sha256(data).hexdigest() != oid:
            return False
        repo.objects[oid] = data
        return True

    def complete(self, kind: str, repo_id: str, oid: str) -> None:
        parts = self.hub.parts.pop(oid, {})
        if not self._keep(self.hub.repos[kind, repo_id], oid, b"".join(data for _, data in sorted(parts.items()))):
            raise Refused(400, "the content does not have this digest")
        self._send(200, {})

    def verify(self, kind: str, repo_id: str, oid: str) -> None:
        if len(self._repo(f"{kind}s", repo_id, write=True).objects.get(oid, b"")) != self._json()["size"]:
            raise Refused(404, "the object did not arrive")
        self._send(200, {})

    def commit(self, kind: str, repo_id: str, revision: str) -> None:
        repo = self._repo(kind, repo_id, write=True)
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = lines[0]["value"]
        with self.hub.lock:
            head = repo.branches.get(revision)
            if head is None:
                raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
            if header.get("parentCommit") and not head.startswith(header["parentCommit"]):
                raise Refused(412, "A commit has happened since. Please refresh and try again.")
            files = dict(repo.commits[head].files)
            for line in lines[1:]:
                self._apply(repo, files, line["key"], line["value"])
            commit = repo.commit(header["summary"], files, revision)
        url = f"{self.hub.url}/{'datasets/' if repo.kind == 'dataset' else ''}{repo.id}/commit/{commit.oid}"
        self._send(200, {"success": True, "commitUrl": url, "commitOid": commit.oid, "hookOutput": ""})

    @staticmethod
    def _apply(repo: Repo, files: dict[str, Blob], key: str, value: dict) -> None:
        path = value["path"]
        if key == "file":
            files[path] = Blob(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            if value["oid"] not in repo.objects:
                raise Refused(400, f"LFS pointer of {path} points to a file that does not exist")
            files[path] = Blob(sha256=value["oid"], size=len(repo.objects[value["oid"]]))
        elif key == "deletedFile":
            if files.pop(path, None) is None:
                raise Refused(404, "A file with this name doesn't exist", "EntryNotFound")
        elif key == "deletedFolder":
            for name in [name for name in files if name.startswith(f"{path.rstrip('/')}/")]:
                del files[name]
        else:
            raise Refused(400, f"unknown operation {key}")


_API, _ID = "/api/(models|datasets)/", "([^/]+/[^/]+)"
_ROUTES = (
    ("GET", "/api/whoami-v2", _Handler.whoami),
    ("POST", "/api/repos/create", _Handler.create_repo),
    ("POST", "/api/validate-yaml", _Handler.validate_yaml),
    ("GET", f"{_API}{_ID}", _Handler.info),
    ("GET", f"{_API}{_ID}/revision/([^/]+)", _Handler.info),
    ("GET", f"{_API}{_ID}/refs", _Handler.refs),
    ("POST", f"{_API}{_ID}/branch/([^/]+)", _Handler.create_branch),
    ("DELETE", f"{_API}{_ID}/branch/([^/]+)", _Handler.delete_branch),
    ("POST", f"{_API}{_ID}/tag/([^/]+)", _Handler.create_tag),
    ("GET", f"{_API}{_ID}/tree/([^/]+)/?(.*)", _Handler.tree),
    ("POST", f"{_API}{_ID}/paths-info/([^/]+)", _Handler.paths_info),
    ("POST", f"{_API}{_ID}/preupload/([^/]+)", _Handler.preupload),
    ("POST", f"{_API}{_ID}/commit/([^/]+)", _Handler.commit),
    ("GET", f"{_API}{_ID}/xet-write-token/([^/]+)", _Handler.xet_token),
    ("POST", r"/(?:(datasets)/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    ("POST", "/_complete/([^/]+)/([^/]+)/([^/]+)", _Handler.complete),
    ("POST", "/_verify/([^/]+)/([^/]+)/([^/]+)", _Handler.verify),
    ("GET", r"/(?:(datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", _Handler.resolve),
)
