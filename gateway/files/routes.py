"""Which of these paths is what. `find` is asked for every /v1 path that is not in the fixed table, so it looks at the first letters first."""

from __future__ import annotations

from gateway.batches.endpoint import BatchEndpoints
from gateway.context import Gateway
from gateway.files.arrivals import Arrivals
from gateway.files.endpoint import Files
from gateway.files.http import Handler
from gateway.files.uploads import Uploads
from gateway.fine_tuning.endpoint import PATH, JobEndpoints

Entry = tuple[frozenset[str], Handler]
_READ = frozenset({"GET", "HEAD"})
_POST = frozenset({"POST"})


class Kept:
    """The paths of what the gateway keeps for its clients: files, uploads, batches and fine-tuning jobs."""

    def __init__(self, gateway: Gateway) -> None:
        arrivals = Arrivals()
        self._files = Files(gateway, arrivals)
        self._uploads = Uploads(gateway, arrivals)
        self._batches = BatchEndpoints(gateway)
        self.jobs = JobEndpoints(gateway)

    def find(self, path: str) -> Entry | None:
        """The methods and the handler of a path; None: not a path of ours."""
        if path.startswith("/v1/files"):
            return self._file(path.removeprefix("/v1/files"))
        if path.startswith("/v1/uploads"):
            return self._upload(path.removeprefix("/v1/uploads"))
        if path.startswith("/v1/batches"):
            return self._batch(path.removeprefix("/v1/batches"))
        if path.startswith(PATH):
            return self._job(path.removeprefix(PATH))
        return None

    def _file(self, rest: str) -> Entry | None:
        if rest == "":
            return _READ | _POST, self._files.collection
        match rest.split("/"):
            case ["", _]:
                return _READ | {"DELETE"}, self._files.one
            case ["", _, "content"]:
                return _READ, self._files.one
        return None

    def _upload(self, rest: str) -> Entry | None:
        if rest == "":
            return _POST, self._uploads.create
        match rest.split("/"):
            case ["", _, "parts" | "complete" | "cancel"]:
                return _POST, self._uploads.one
        return None

    def _job(self, rest: str) -> Entry | None:
        if rest == "":
            return _READ | _POST, self.jobs.collection
        match rest.split("/"):
            case ["", _] | ["", _, "events" | "checkpoints"]:
                return _READ, self.jobs.one
            case ["", _, "cancel" | "pause" | "resume"]:
                return _POST, self.jobs.verb
        return None

    def _batch(self, rest: str) -> Entry | None:
        if rest == "":
            return _READ | _POST, self._batches.collection
        match rest.split("/"):
            case ["", _]:
                return _READ, self._batches.one
            case ["", _, "cancel"]:
                return _POST, self._batches.one
        return None
