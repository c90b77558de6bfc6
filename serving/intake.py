"""The way in of an adapter version, up to the registry: find it, copy it, check the copy, give it its place, register it. Nothing is loaded here.

Public: `Intake` (what may go in where), `add(database, intake, name, path, ...) -> VersionView`, `examine` (the same without keeping anything).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from router.errors import AdapterRefused, DataError, Reason, RequestError
from serving import registry, storage
from serving.admission import Admission, Limits, check
from serving.base import BaseIdentity, identify, locate
from serving.database import writing
from serving.states import State
from serving.views import VersionView


@dataclass(frozen=True, slots=True)
class Intake:
    """What an engine takes. `model` is a directory or a Hugging Face id looked up in `cache`; `managed` engines must have it on this machine."""

    engine: str
    model: str | None
    managed: bool
    limits: Limits
    roots: tuple[Path, ...]
    data_dir: Path
    cache: Path

    def base(self) -> BaseIdentity | None:
        """The engine's base, None for one that someone else runs and whose model is not here. AdapterRefused for a managed engine without it."""
        model = self.model or ""
        found = locate(model, self.cache) if model else None
        if found is None:
            if self.managed:
                message = f"the base {self.model} of {self.engine} is not on this machine, so shapes cannot be checked"
                raise AdapterRefused(
                    message, (Reason("base_missing", message, "start the engine once, download the model, or name its directory in engines.X.model"),)
                )
            return None
        try:
            return identify(found, Path(model).name if Path(model).is_dir() else model)
        except DataError as error:
            raise AdapterRefused(error.message, (Reason("base_damaged", error.message, "name a complete model in engines.X.model"),)) from error


def add(database: Engine, intake: Intake, name: str, path: str, actor: str, now: float) -> VersionView:
    """Register the adapter in directory `path` as a version of `name`; the same content again is the same version.

    Raises AdapterRefused with every reason; then nothing is kept and no version in service is touched. RequestError (507 where the disk is full), likewise.
    """
    source = storage.locate(path, intake.roots)
    with _stored(intake.data_dir):
        staged = storage.stage(source, intake.data_dir, intake.roots)
        try:
            admission = _judge(staged.path, intake)
            place = storage.publish(staged, intake.data_dir, name)
        finally:
            storage.discard(staged)
    view = VersionView(name, 0, staged.digest, str(place), State.REGISTERED, checks=admission.checks, manifest=_kept(admission.manifest))
    with writing(database) as conn:
        return registry.add_version(conn, view, intake.engine, str(source), actor, now)


def examine(intake: Intake, path: str) -> tuple[str, Admission]:
    """What `add` would find: the digest and the checks. Raises AdapterRefused as `add` does; keeps nothing."""
    source = storage.locate(path, intake.roots)
    with _stored(intake.data_dir):
        staged = storage.stage(source, intake.data_dir, intake.roots)
        try:
            return staged.digest, _judge(staged.path, intake)
        finally:
            storage.discard(staged)


@contextmanager
def _stored(data_dir: Path) -> Iterator[None]:
    """What the file system refuses, as an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            said = f"there is no room for a copy of the adapter in {data_dir} ({error.strerror}); free some, or set server.data_dir to a larger disk"
            raise RequestError(said, status=507, code="insufficient_storage") from error
        raise RequestError(f"the adapter cannot be copied to {data_dir}: {error}", status=500, code="storage_failed") from error


def _judge(path: Path, intake: Intake) -> Admission:
    admission = check(path, intake.base(), intake.limits)
    if admission.reasons:
        raise AdapterRefused("the adapter is refused: " + "; ".join(reason.message for reason in admission.reasons), admission.reasons)
    return admission


def _kept(manifest: Mapping[str, object]) -> dict[str, object]:
    """The manifest without the long lists: those stay in the directory."""
    return {key: value for key, value in manifest.items() if key != "files"}
