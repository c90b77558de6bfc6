"""The demo's support tickets: a seeded generator with gold answers.

A ticket is built from facts (intents, cues, language, order numbers), worded from ``phrases.json`` and then
made messy (typos, case, lost accents, signatures, quoted mail). The gold answer follows from the facts by
the rules in ``gold``; the order number is read back from the finished text, so it is there to be copied.
Not here: the wording itself (``phrases.json``), sending tickets, training on them, judging answers.
"""

import json
import random
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# First one that applies wins: what costs the customer (and the shop) most is handled first.
INTENTS = ("damaged", "delivery", "cancel", "refund", "invoice", "account", "question", "other")
PRIORITIES = ("high", "normal", "low")
LANGUAGES = ("en", "de", "es", "fr")
NO_LANGUAGE = "xx"
SYSTEM = "Triage the support mail. Reply with JSON only: intent, priority, order (6 digits or null), lang."

Wording = Mapping[str, Mapping[str, Sequence[str]]]

_ORDER = re.compile(r"(?<!\d)\d{6}(?!\d)")
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"<(\w+)>")
_PLAIN = str.maketrans("áéíóúñàèùâêîôûëïçÁÉ", "aeiounaeuaeioueicAE") | str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "œ": "oe", "¿": "", "¡": ""})


@dataclass(frozen=True, slots=True)
class Ticket:
    """One request and its gold answer.

    ``messages`` is OpenAI chat format (system, user); ``expected`` is compact JSON with the keys
    intent, priority, order, lang in this order; ``tags`` name what makes the ticket hard.
    """

    id: str
    messages: tuple[dict[str, str], ...]
    expected: str
    tags: tuple[str, ...]

    @property
    def text(self) -> str:
        """The customer's mail as written."""
        return self.messages[-1]["content"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a mail is about, before it is worded. ``lang`` is a key of the wording or ``xx``."""

    intents: tuple[str, ...]
    urgent: bool
    relaxed: bool
    lang: str


def gold(facts: Facts, text: str) -> str:
    """The right answer for a mail that states ``facts`` and reads ``text``.

    intent: the first of ``INTENTS`` among the facts, ``other`` if there is none. priority: high with an
    urgent cue; else low with a no-hurry cue or where the intent is question or other; else normal.
    order: the first run of exactly six digits in the text, else null. Orders inside the mail to set a field
    differently are text, not facts, and change nothing.
    """
    intent = min(facts.intents, key=INTENTS.index, default="other")
    if facts.urgent:
        priority = "high"
    elif facts.relaxed or intent in ("question", "other"):
        priority = "low"
    else:
        priority = "normal"
    found = _ORDER.search(text)
    answer = {"intent": intent, "priority": priority, "order": found and found.group(), "lang": facts.lang}
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":"))


def load_wording() -> Wording:
    """The phrase grammar: per language, lists of patterns with ``[a|b]`` choices and ``<slot>`` names."""
    wording: Wording = json.loads((Path(__file__).parent / "phrases.json").read_text("utf-8"))
    return wording


def generate(n: int, seed: int, avoid: Collection[str] = ()) -> list[Ticket]:
    """``n`` tickets with distinct texts, the same for the same arguments.

    ``avoid``: ``text_key`` values that must not occur, usually ``keys_of`` an earlier list; a text that would
    collide is drawn again.
    """
    wording = load_wording()
    taken = set(avoid)
    tickets: list[Ticket] = []
    draw = 0
    while len(tickets) < n:
        rng = random.Random(f"{seed}:{draw}")
        draw += 1
        text, expected, tags = _mail(rng, wording)
        key = text_key(text)
        if key in taken:
            continue
        taken.add(key)
        messages = ({"role": "system", "content": SYSTEM}, {"role": "user", "content": text})
        tickets.append(Ticket(f"t{seed}-{len(tickets):05d}", messages, expected, tags))
    return tickets


def split(sizes: Mapping[str, int], seed: int) -> dict[str, list[Ticket]]:
    """Named lists (suite, traffic, …) that share no text; earlier names draw first."""
    taken: set[str] = set()
    parts: dict[str, list[Ticket]] = {}
    for number, (name, size) in enumerate(sizes.items()):
        parts[name] = generate(size, seed * 1000 + number, taken)
        taken |= keys_of(parts[name])
    return parts


def text_key(text: str) -> str:
    """Two mails with the same key count as the same text: case and white space do not matter."""
    return " ".join(text.casefold().split())


def keys_of(tickets: Iterable[Ticket]) -> set[str]:
    """The ``text_key`` of each ticket, for ``generate(avoid=…)`` and for checks of disjointness."""
    return {text_key(ticket.text) for ticket in tickets}


def write_suite(path: Path, tickets: Iterable[Ticket]) -> None:
    """Write the suite format of an eval route: one judged item a line."""
    rows = (
        {
            "id": ticket.id,
            "messages": ticket.messages,
            "expected": ticket.expected,
            "scorer": "json_fields",
            "tags": ticket.tags,
            "must_pass": False,
        }
        for ticket in tickets
    )
    _write_lines(path, rows)


def write_reference(path: Path, tickets: Iterable[Ticket]) -> None:
    """Write the sandbox provider's reference answers: ``{"messages", "answer"}`` a line."""
    _write_lines(path, ({"messages": ticket.messages, "answer": ticket.expected} for ticket in tickets))


def _write_lines(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    with path.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _mail(rng: random.Random, wording: Wording) -> tuple[str, str, tuple[str, ...]]:
    """One mail: its text, gold answer and tags."""
    kind = rng.random()
    if kind < 0.02:
        return _void(rng, wording)
    if kind < 0.05:
        return _hostile(rng, wording)
    facts = _facts(rng)
    text, tags = _letter(rng, wording, facts)
    text, mess = soil(rng, text)
    if len(facts.intents) > 1:
        tags.append("several")
    return text, gold(facts, text), (facts.lang, *tags, *mess)


def _facts(rng: random.Random) -> Facts:
    count = 1 if (dice := rng.random()) < 0.85 else 2 if dice < 0.98 else 3
    # "other" (praise, spam) only stands alone: beside a request it would be small talk.
    intents = rng.sample(INTENTS[:-1], count) if count > 1 else [rng.choice(INTENTS)]
    lang = rng.choices(LANGUAGES, (4, 2, 2, 2))[0]
    return Facts(tuple(intents), rng.random() < 0.25, rng.random() < 0.15, lang)


def _void(rng: random.Random, wording: Wording) -> tuple[str, str, tuple[str, ...]]:
    """Nothing to read: blanks, dots, a lone emoji."""
    marks = wording["any"]["void"]
    text = "".join(rng.choice(marks) for _ in range(rng.randint(1, 3)))
    return text, gold(Facts((), False, False, NO_LANGUAGE), text), ("empty",)


def _hostile(rng: random.Random, wording: Wording) -> tuple[str, str, tuple[str, ...]]:
    """A bare prompt injection (in English) or a bare insult: nothing to act on."""
    if rng.random() < 0.5:
        lang, tag, patterns = "en", "injection", wording["any"]["injection"]
    else:
        lang = rng.choice(LANGUAGES)
        tag, patterns = "insult", wording[lang]["insult"]
    text, mess = soil(rng, expand(rng, wording, lang, rng.choice(patterns)))
    return text, gold(Facts(("other",), False, False, lang), text), (lang, tag, *mess)


def _letter(rng: random.Random, wording: Wording, facts: Facts) -> tuple[str, list[str]]:
    """Word the facts as a mail of sentences in random order, with small talk and trimmings."""
    words = wording[facts.lang]
    tags: list[str] = []

    def say(part: str) -> str:
        return expand(rng, wording, facts.lang, rng.choice(words[part]))

    body = [say(intent) for intent in facts.intents]
    cues = [part for part in ("urgent", "relaxed") if getattr(facts, part)]
    extras = [part for part, share in (("order", 0.6), ("chat", 0.3), ("insult", 0.06)) if rng.random() < share]
    for part in cues + extras:
        body.insert(rng.randint(0, len(body)), say(part))
    if rng.random() < 0.03:
        body.insert(rng.randint(0, len(body)), expand(rng, wording, "en", rng.choice(wording["any"]["injection"])))
        tags.append("injection")
    tags += [part for part in (*cues, *extras) if part != "chat"]
    text = "".join(part if part.endswith("?") else part + rng.choice([".", ".", "!", ""]) for part in _spaced(body))
    head = say("greet") + rng.choice([",\n", ", ", "! ", "\n\n"]) if rng.random() < 0.5 else ""
    tail = rng.choice(["\n", "\n\n", " "]) + say("close") if rng.random() < 0.4 else ""
    if tail and rng.random() < 0.6:
        tail += rng.choice(["\n", ", "]) + rng.choice(wording["any"]["names"])
    if rng.random() < 0.12:
        tail += "\n" + say("sign")
        tags.append("signature")
    if rng.random() < 0.08:
        tail += "\n\n" + say("quote")
        tags.append("quote")
    return head + text + tail, tags


def _spaced(parts: Sequence[str]) -> list[str]:
    return [part if number == 0 else " " + part for number, part in enumerate(parts)]


def expand(rng: random.Random, wording: Wording, lang: str, pattern: str) -> str:
    """Expand a pattern: inner choices first, then slots."""
    while (found := _CHOICE.search(pattern)) is not None:
        pattern = pattern[: found.start()] + rng.choice(found.group(1).split("|")) + pattern[found.end() :]
    filled = _SLOT.sub(lambda slot: _fill(rng, wording, lang, slot.group(1)), pattern)
    return " ".join(filled.split(" ")).strip().replace("  ", " ")


def _fill(rng: random.Random, wording: Wording, lang: str, slot: str) -> str:
    if slot == "item":
        return rng.choice(wording[lang]["items"])
    if slot == "city":
        return rng.choice(wording["any"]["cities"])
    numbers = {
        "n": lambda: str(rng.randint(100000, 999999)),
        "y": lambda: str(rng.randint(2, 12)),
        "zip": lambda: str(rng.randint(10000, 99999)),
        "eur": lambda: f"{rng.randint(5, 300)}.{rng.randint(10, 99)}",
        "d": lambda: f"{rng.randint(1, 28):02d}.{rng.randint(1, 12):02d}.",
        "cust": lambda: str(rng.randint(10_000_000, 99_999_999)),
        "tel": lambda: f"+49 {rng.randint(30, 99)} {rng.randint(1000, 9999)} {rng.randint(1000, 9999)}",
    }
    return numbers[slot]()


def soil(rng: random.Random, text: str) -> tuple[str, tuple[str, ...]]:
    """Real-life damage to letters; digits stay as they are. Returns the text and its tags."""
    tags: list[str] = []
    if rng.random() < 0.15 and (slips := re.sub(r"[^\W\d_]{4,}", lambda word: _typo(rng, word.group()), text)) != text:
        text = slips
        tags.append("typos")
    if rng.random() < 0.1 and (plain := text.translate(_PLAIN)) != text:
        text = plain
        tags.append("plain")
    if (dice := rng.random()) < 0.1:
        text = text.lower()
        tags.append("lower")
    elif dice < 0.13:
        text = text.upper()
        tags.append("upper")
    return text, tuple(tags)


def _typo(rng: random.Random, word: str) -> str:
    """One slip in about every eighth word: two letters swapped, one lost or one doubled."""
    if rng.random() > 0.12:
        return word
    at = rng.randrange(1, len(word) - 1)
    return rng.choice(
        [
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
        ]
    )
