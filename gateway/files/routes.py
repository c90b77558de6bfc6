"""Which of these paths is what. `find` is asked for every /v1 path that is not in the fixed table, so it looks at the first letters first."""

from __future__ import annotations

from gateway.context import Gateway
from gateway.files.endpoint import Files
from gateway.files.http import Handler
from gateway.files.uploads import Uploads

Entry = tuple[frozenset[str], Handler]
_READ = frozenset({"GET", "HEAD"})
_POST = frozenset({"POST"})


class Kept:
    """The paths of what the gateway keeps for its clients: files and uploads."""

    def __init__(self, gateway: Gateway) -> None:
        self._files = Files(gateway)
        self._uploads = Uploads(gateway)

    def find(self, path: str) -> Entry | None:
        """The methods and the handler of a path; None: not a path of ours."""
        if path.startswith("/v1/files"):
            return self._file(path.removeprefix("/v1/files"))
        if path.startswith("/v1/uploads"):
            return self._upload(path.removeprefix("/v1/uploads"))
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
