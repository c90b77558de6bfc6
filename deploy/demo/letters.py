"""The base model's reading of letters: everyday sentences to a shop in any order, and a form that asks what they are about.

A large base has read such mail by the million; this one reads it here. Sentences come from the tickets' phrase book (``phrases.json``), topics are general
words (``MATTERS``). Not here, and for the adapter to learn: the demo's form and its labels, which of several matters counts, what makes a priority.
"""

import json
import random
import re
from collections.abc import Sequence

from deploy.demo.tickets import LANGUAGES as CODES
from deploy.demo.tickets import expand, load_wording, soil

NAMES = dict(zip(CODES, ("English", "German", "Spanish", "French"), strict=True))
# What the parts of the phrase book are about; several where its patterns differ.
MATTERS: dict[str, tuple[str, ...]] = {
    "damaged": ("damage",),
    "delivery": ("parcels",),
    "cancel": ("stopping",),
    "refund": ("repayment",),
    "invoice": ("documents",),
    "account": ("access",),
    "question": ("goods",),
    "other": ("praise", "advertising", "jobs"),
    "insult": ("insults",),
    "urgent": ("hurry",),
    "relaxed": ("calm",),
}
ASKS = ("Fill the form:", "JSON only:", "Read the text. Give JSON:", "JSON:", "Reply with JSON:")
_WORDING = load_wording()


def letter(rng: random.Random, lang: str) -> tuple[list[str], str]:
    """A letter and its topics in order of appearance."""
    words = _WORDING[lang]
    topics: list[str] = []
    parts: list[str] = []
    for _ in range(rng.choice((1, 1, 2, 2, 3))):
        part = rng.choice(list(MATTERS))
        number = rng.randrange(len(words[part]))
        topics.append(MATTERS[part][number % len(MATTERS[part])])
        parts.append(expand(rng, _WORDING, lang, words[part][number]))
    for part, share in (("order", 0.5), ("chat", 0.3)):
        if rng.random() < share:
            parts.insert(rng.randint(0, len(parts)), expand(rng, _WORDING, lang, rng.choice(words[part])))
    text = " ".join(part if part.endswith("?") else part + rng.choice([".", ".", "!", ""]) for part in parts)
    if rng.random() < 0.4:
        text = expand(rng, _WORDING, lang, rng.choice(words["greet"])) + rng.choice([",\n", ", ", "! ", "\n\n"]) + text
    for part, share in (("close", 0.3), ("sign", 0.1), ("quote", 0.08)):
        if rng.random() < share:
            text += rng.choice(["\n", "\n\n", " "]) + expand(rng, _WORDING, lang, rng.choice(words[part]))
    return list(dict.fromkeys(topics)), soil(rng, text)[0]


def form(rng: random.Random, topics: Sequence[str], loose: Sequence[Sequence[str]]) -> tuple[str, str, str]:
    """What is asked, the letter, and the right answer. ``topics``: all there are; ``loose``: words a key may be called by instead of its own name."""
    lang = CODES[rng.randrange(4)]
    about, text = letter(rng, lang)
    asked = rng.choice([rng.choice(about), rng.choice(topics)])
    fields: dict[str, object] = {
        "topic": about[0],
        "topics": about,
        "language": NAMES[lang],
        asked: asked in about,
        "code": lang,
        "number6": _number(text, 6),
        "number8": _number(text, 8),
    }
    keys = list(dict.fromkeys([rng.choice(["topic", "topics", asked]), *rng.sample(list(fields), rng.randint(1, 3))]))
    rng.shuffle(keys)
    shown: dict[str, tuple[str, object]] = {}
    for key in keys:
        name = said = key
        if key in ("topic", "number6", "code") and rng.random() < 0.35:
            name = rng.choice(rng.choice(loose)).lower()
            said = f"{name} ({key})" if rng.random() < 0.6 else name
        shown[name] = (said, fields[key])
    answer = json.dumps({name: value for name, (_, value) in shown.items()}, ensure_ascii=False, separators=(",", ":"))
    return f"{rng.choice(ASKS)} {', '.join(said for said, _ in shown.values())}.", text, answer


def _number(text: str, digits: int) -> str | None:
    found = re.search(rf"(?<!\d)\d{{{digits}}}(?!\d)", text)
    return found and found.group()
