"""Webhooks: signed so that the official client takes them, sent until somebody does."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import openai
import orjson
import pytest
from sqlalchemy import Engine

from gateway.config.models import Config
from gateway.fine_tuning import webhook
from gateway.fine_tuning.runner import Trainer
from gateway.store import fine_tuning
from gateway.store.fine_tuning import Job
from serving.database import connect, reading, writing
from tests.databases import prepare
from tests.gateway.live_gateway import config_of

SECRETS = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "a plain secret of ours")


def ended(status: str) -> Job:
    return Job(f"ftjob-bk-{status}", None, 1.0, "gpt-4o-mini", "local", "ft-a", "file-bk-1", 1, status=status, finished_at=5.0, webhook_at=5.0)


@contextmanager
def receiver(answers: list[int]) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A server that answers with these codes in turn (200 afterwards) and keeps what it got."""
    got: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((dict(self.headers), self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(answers.pop(0) if answers else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", got
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def test_the_official_client_takes_them() -> None:
    """What is signed is unwrapped by the SDK with the same secret, and by no other; a changed byte is refused."""
    client = openai.OpenAI(api_key="any", base_url="http://127.0.0.1:9")
    for secret in SECRETS:
        for status in ("succeeded", "failed", "cancelled"):
            message_id, event = webhook.message(ended(status))
            text = orjson.dumps(event)
            headers = webhook.sign(secret, message_id, int(time.time()), text)
            found = client.webhooks.unwrap(text, headers, secret=secret)
            assert found.type == f"fine_tuning.job.{status}"
            assert found.data.id == f"ftjob-bk-{status}"  # type: ignore[union-attr]
            with pytest.raises(openai.InvalidWebhookSignatureError):
                client.webhooks.unwrap(text, headers, secret="another")
            with pytest.raises(openai.InvalidWebhookSignatureError):
                client.webhooks.unwrap(text + b" ", headers, secret=secret)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    """A database with one job that has ended."""
    made = connect("sqlite:///b.db", tmp_path)
    prepare(made)
    with writing(made) as conn:
        fine_tuning.add(conn, ended("succeeded"))
    yield made
    made.dispose()


def with_hook(directory: Path, url: str | None) -> Config:
    hook = None if url is None else {"url": url, "secret": SECRETS[0]}
    return config_of(directory, {"training": {"webhook": hook}, "database": "sqlite:///b.db"})


def test_one_that_is_not_taken_is_sent_again(database: Engine, tmp_path: Path) -> None:
    """Under the same id, later each time, until the receiver says yes; then never again."""
    now = [10.0]
    with receiver([500, 404]) as (url, got):
        trainer, config = Trainer(database, lambda: now[0], {}), with_hook(tmp_path, url)

        async def look() -> None:
            for _ in range(8):
                await trainer.once(config)
                now[0] += 3.0
            await trainer.close()

        asyncio.run(look())
    assert len(got) == 3
    assert len({headers["webhook-id"] for headers, _ in got}) == 1
    assert len({headers["webhook-timestamp"] for headers, _ in got}) == 3
    with reading(database) as conn:
        assert not fine_tuning.to_announce(conn, 1e12)


def test_it_gives_up_and_it_says_nothing_without_a_url(database: Engine, tmp_path: Path) -> None:
    """A receiver that is gone for good is left alone after ten tries; without a webhook nothing waits."""
    assert webhook.next_try(webhook.MOST_TRIES, 0.0) is None
    assert webhook.next_try(3, 100.0) == 108.0
    assert asyncio.run(webhook.send(with_hook(tmp_path, "http://127.0.0.1:9/x").training.webhook, ended("failed"), 1.0))  # type: ignore[arg-type]
    trainer = Trainer(database, lambda: 10.0, {})

    async def look() -> None:
        await trainer.once(with_hook(tmp_path, None))
        await trainer.close()

    asyncio.run(look())
    with reading(database) as conn:
        assert not fine_tuning.to_announce(conn, 1e12)
