"""`/v1/fine_tuning/jobs`: make, list, show, cancel, pause, resume, events, checkpoints; and the end of a fine-tuned model. Here are only rows and files.

What happens to a job is the controller's (runner.py) and its process's. Ids that are not ours are asked for at the default provider, where there is one.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection

from gateway.asgi import Request
from gateway.context import Gateway
from gateway.engine_specs import adapter_routes
from gateway.files import http, rules
from gateway.fine_tuning import asked, objects
from gateway.fine_tuning.asked import Asked
from gateway.fine_tuning.changes import changed
from gateway.store import content, files, fine_tuning, job_files
from gateway.store.fine_tuning import Job
from router.errors import LimitError, RequestError
from serving import registry
from serving.database import writing
from serving.verbs import Change

PATH = "/v1/fine_tuning/jobs"
# Jobs run one after the other: a key that has so many waiting gets nothing sooner by making more.
MOST_UNFINISHED = 20
_LABEL = "metadata["

T = TypeVar("T")


class JobEndpoints:
    """The handlers of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def collection(self, request: Request) -> None:
        """`GET` and `POST /v1/fine_tuning/jobs`."""
        if request.scope["method"] == "POST":
            await self._create(request)
            return
        owner, query = http.key_id(self._gateway, request), http.query(request)
        limit, labels = http.limit_of(query, 20, 100), _labels(query)
        found, more = await http.transact(self._gateway, lambda conn: fine_tuning.page(conn, owner, limit, query.get("after"), labels))
        await http.send_json(request, http.listing([self._shown(job) for job in found], has_more=more))

    async def one(self, request: Request) -> None:
        """`GET /v1/fine_tuning/jobs/{id}[/events|/checkpoints]`."""
        owner, (job_id, below), query = http.key_id(self._gateway, request), _parts(request), http.query(request)
        if await self._elsewhere(request, job_id):
            return
        if below == "events":
            limit = http.limit_of(query, 20, 100)
            events, more = await self._of(job_id, owner, lambda conn: fine_tuning.events(conn, job_id, limit, query.get("after")))
            await http.send_json(request, http.listing([objects.event(each) for each in events], has_more=more))
        elif below == "checkpoints":
            limit = http.limit_of(query, 10, 100)
            kept, more = await self._of(job_id, owner, lambda conn: fine_tuning.checkpoints(conn, job_id, limit, query.get("after")))
            await http.send_json(request, http.listing([objects.checkpoint(each) for each in kept], has_more=more))
        else:
            found = await http.transact(self._gateway, lambda conn: fine_tuning.owned(conn, job_id, owner))
            await http.send_json(request, self._shown(found))

    async def verb(self, request: Request) -> None:
        """`POST /v1/fine_tuning/jobs/{id}/cancel|pause|resume`."""
        owner, (job_id, verb) = http.key_id(self._gateway, request), _parts(request)
        if await self._elsewhere(request, job_id):
            return
        now = self._gateway.clock()
        found = await http.transact(self._gateway, lambda conn: changed(conn, fine_tuning.owned(conn, job_id, owner), verb, now))
        await http.send_json(request, self._shown(found))

    async def delete_model(self, request: Request, name: str) -> None:
        """`DELETE /v1/models/ft:…`: the name can be called no more, its version is retired."""
        owner, gateway = http.key_id(self._gateway, request), self._gateway

        def forget(conn: Connection) -> None:
            model = fine_tuning.models(conn).get(name)
            if model is None or model.key_id != owner:
                message = f"The model `{name[:200]}` does not exist or you do not have access to it."
                raise RequestError(message, status=404, param="model", code="model_not_found")
            change = Change("retire", model.adapter, model.version, reason="the model was deleted", actor="fine-tuning API")
            registry.request(conn, change, adapter_routes(gateway.config).get(model.adapter, {}), gateway.clock())
            fine_tuning.forget_model(conn, name)

        await http.transact(self._gateway, forget)
        await http.send_json(request, {"id": name, "object": "model", "deleted": True})

    async def _create(self, request: Request) -> None:
        gateway, owner = self._gateway, http.key_id(self._gateway, request)
        body, raw = await http.json_body(request)
        training_file = body.get("training_file")
        if isinstance(training_file, str) and not files.is_ours(training_file) and http.has_provider(gateway):
            await http.hand_on(gateway, request, raw)
            return
        wanted = asked.read(body, secrets.randbelow(asked.MOST_SEED))
        job_id = fine_tuning.new_id()
        job = Job(
            id=job_id,
            key_id=owner,
            created_at=gateway.clock(),
            model=wanted.model,
            engine=asked.engine_of(gateway.config, wanted.model),
            adapter=objects.adapter_name(job_id, wanted.model, wanted.suffix),
            training_file=wanted.training_file,
            validation_file=wanted.validation_file,
            suffix=wanted.suffix,
            seed=wanted.seed,
            wishes=wanted.wishes,
            local=wanted.local,
            metadata=wanted.metadata,
        )
        await asyncio.to_thread(self._keep, job, wanted)
        await http.send_json(request, self._shown(job))

    def _keep(self, job: Job, wanted: Asked) -> None:
        """The job's own names for its files first, so that the client may delete them; then its row."""
        data_dir, now = self._gateway.config.server.data_dir, job.created_at
        work = job_files.work(data_dir, job.id)
        try:
            with writing(self._gateway.database) as conn:
                _check_room(conn, job.key_id)
                named = ((wanted.training_file, job_files.TRAINING, "training_file"), (wanted.validation_file, job_files.VALIDATION, "validation_file"))
                for file_id, name, param in named:
                    if file_id is not None:
                        _check_file(conn, file_id, job.key_id, now, param)
                        source = files.path(conn, data_dir, file_id, now)
                        work.mkdir(parents=True, exist_ok=True, mode=0o700)
                        content.second_name(source, work / name)
                fine_tuning.add(conn, job)
                fine_tuning.say(conn, job.id, f"Created fine-tuning job: {job.id}", now)
                also = "" if job.validation_file is None else f" and validation file: {job.validation_file}"
                fine_tuning.say(conn, job.id, f"Validating training file: {job.training_file}{also}", now)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise

    def _shown(self, job: Job) -> dict[str, Any]:
        return objects.job(objects.as_seen(job, self._gateway.clock()), self._gateway.config.training.organization)

    async def _elsewhere(self, request: Request, job_id: str) -> bool:
        """Whether the job is the provider's, and the request was handed on."""
        if fine_tuning.is_ours(job_id):
            return False
        if not http.has_provider(self._gateway):
            raise fine_tuning.no_such_job(job_id)
        await http.hand_on(self._gateway, request)
        return True

    async def _of(self, job_id: str, owner: str | None, work: Callable[[Connection], T]) -> T:
        def run(conn: Connection) -> T:
            fine_tuning.owned(conn, job_id, owner)
            return work(conn)

        return await http.transact(self._gateway, run)


def _check_room(conn: Connection, owner: str | None) -> None:
    if fine_tuning.count_unfinished(conn, owner) >= MOST_UNFINISHED:
        message = f"You have {MOST_UNFINISHED} fine-tuning jobs that have not ended, which is as many as the gateway takes; wait for one to end."
        raise LimitError(message, retry_after_s=60.0)


def _check_file(conn: Connection, file_id: str, owner: str | None, now: float, param: str) -> None:
    found = files.get(conn, file_id, now)
    if found is None or found.key_id != owner:
        raise RequestError(f"invalid {param}: {file_id[:200]}", param=param, code="file_not_found")
    if found.purpose != "fine-tune":
        raise RequestError(f"The file's purpose is {found.purpose!r}; upload it with purpose 'fine-tune'.", param=param, code="invalid_file_purpose")
    rules.check_size(found.bytes)


def _labels(query: dict[str, str]) -> dict[str, str] | None:
    """The metadata a listing asks for: `metadata[k]=v`, or `metadata=null` for jobs without."""
    if query.get("metadata") == "null":
        return {}
    found = {name[len(_LABEL) : -1]: value for name, value in query.items() if name.startswith(_LABEL) and name.endswith("]")}
    return found or None


def _parts(request: Request) -> tuple[str, str]:
    job_id, _, below = request.scope["path"].removeprefix(f"{PATH}/").partition("/")
    return job_id, below
