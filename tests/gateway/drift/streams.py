"""Streams of samples for tests of drift: the demo's support mails and right answers as a worker would sketch them, with shifts put in."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import orjson

from deploy.demo.tickets import Ticket, generate
from gateway.drift import sketch
from gateway.transcript import Transcript

Sample = tuple[Any, ...]
# Of a new kind of request: people who want a job, in the words of nobody else.
_JOBS = ("vacancy", "application", "curriculum", "internship", "salary", "interview", "position", "warehouse", "candidate", "employment", "hiring", "shift")


@cache
def mails(n: int = 4000, seed: int = 11) -> tuple[Ticket, ...]:
    """The demo's mails in all languages but one."""
    return tuple(ticket for ticket in generate(n, seed) if orjson.loads(ticket.expected)["lang"] != "fr")


@cache
def french(n: int = 4000, seed: int = 12) -> tuple[Ticket, ...]:
    """Mails in the language that `mails` leaves out."""
    return tuple(ticket for ticket in generate(n, seed) if orjson.loads(ticket.expected)["lang"] == "fr")


def sample(mail: str, said: str, rng: random.Random, slower: float = 1.0, finish: str = "stop") -> Sample:
    """The numbers of one request and its answer; latency is log-normal around half a second."""
    body = {"messages": [{"role": "system", "content": "Triage the support mail."}, {"role": "user", "content": mail}]}
    transcript = Transcript()
    transcript.add(said, None)
    total = 500.0 * slower * math.exp(rng.gauss(0.0, 0.3))
    numbers = (len(said) // 3, total * 0.4, total, 20_000 + 30 * len(mail))
    return (*sketch.incoming(body, len(mail.encode())), *sketch.outgoing(body, transcript, finish), *numbers)


@cache
def usual(n: int = 4000) -> tuple[Sample, ...]:
    """A pool of ordinary requests; some answers are no JSON, some end early, as with every model."""
    rng, pool = random.Random(1), []
    for ticket in mails(n):
        dice = rng.random()
        said = ticket.expected if dice > 0.01 else "I read the mail and think it is about a refund."
        pool.append(sample(ticket.text, said, rng, finish="length" if dice > 0.995 else "stop"))
    return tuple(pool)


def stream(pool: Sequence[Sample], rng: random.Random) -> Iterator[Sample]:
    """Requests drawn from a pool, for ever."""
    while True:
        yield rng.choice(pool)


@cache
def shifted(kind: str) -> tuple[Sample, ...]:
    """A pool of requests after a shift: `language` (a third of them French), `intent` (a quarter about jobs), `schema` (a tenth of the answers without JSON),
    `keys` (another key in each answer), `slower` (by 60 %), `refusals` (one in twelve), `cut` (a tenth end early), `longer` (answers twice as long)."""
    rng, pool = random.Random(2), []
    abroad = french()
    for number, ticket in enumerate(mails()):
        mail, said, slower, finish = ticket.text, ticket.expected, 1.0, "stop"
        if kind == "language" and number % 3 == 0:
            mail = abroad[number % len(abroad)].text
        elif kind == "intent" and number % 4 == 0:
            mail = "Hello I write about the " + " ".join(rng.sample(_JOBS, 5)) + " at your company and send my papers"
        elif kind == "schema" and number % 10 == 0:
            said = "The customer is angry, better call them: " + said[:20]
        elif kind == "keys":
            said = said.replace('"intent"', '"topic"')
        elif kind == "slower":
            slower = 1.6
        elif kind == "refusals" and number % 12 == 0:
            said = "I'm sorry, but I can't help with that."
        elif kind == "longer":
            said = said[:-1] + ',"comment":"' + "as the customer writes " * 6 + '"}'
        elif kind == "cut" and number % 10 == 0:
            finish = "length"
        pool.append(sample(mail, said, rng, slower, finish))
    return tuple(pool)
