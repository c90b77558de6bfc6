"""The base model's schooling: generated exercises in general skills, in four languages.

Copying, translating, repairing text, naming topics and languages, and filling small JSON forms of many shapes.
Words come from ``lexicon.tsv``, sentences from ``sentences.tsv``. Not here: anything of the demo's own task;
its schema, labels and wording (``tickets.py``, ``phrases.json``) are for the adapter to learn.
"""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

LANGUAGES = ("English", "German", "Spanish", "French")
CITIES = ("Rome", "Oslo", "Porto", "Genf", "Bilbao", "Dublin", "Köln", "Nantes", "Prag", "York", "Málaga", "Brest")
NAMES = ("Nora", "Max Kern", "Luis", "Chloé", "Eva Lang", "Sam", "Inés", "Hugo", "Mia", "Peter Hall")
DIGIT_COUNTS = (3, 4, 5, 7, 8)

Message = dict[str, str]


@dataclass(frozen=True, slots=True)
class Phrase:
    """The same words or sentence in each of ``LANGUAGES``, filed under a topic."""

    topic: str
    forms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Library:
    """All phrases the exercises are made of."""

    words: tuple[Phrase, ...]
    sentences: tuple[Phrase, ...]


def load_library() -> Library:
    """Read both tables; each row is topic, English, German, Spanish, French."""
    return Library(_table("lexicon.tsv"), _table("sentences.tsv"))


def _table(name: str) -> tuple[Phrase, ...]:
    rows = (Path(__file__).parent / name).read_text("utf-8").splitlines()
    cells = (row.split("\t") for row in rows)
    return tuple(Phrase(topic, tuple(forms)) for topic, *forms in cells)


def exercises(library: Library, seed: int) -> Iterator[list[Message]]:
    """Endless conversations (system, user, assistant), the same for the same seed."""
    rng = random.Random(seed)
    kinds: Sequence[tuple[Callable[[random.Random, Library], list[Message]], int]] = (
        (_form, 50),
        (_copy, 14),
        (_translate, 16),
        (_repair, 8),
        (_topic, 8),
        (_talk, 4),
    )
    makers = [maker for maker, _ in kinds]
    weights = [weight for _, weight in kinds]
    while True:
        yield rng.choices(makers, weights)[0](rng, library)


def _chat(system: str, user: str, assistant: str) -> list[Message]:
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": user},
        {"role": "assistant", "content": assistant},
    ]


def _digits(rng: random.Random, count: int) -> str:
    return str(rng.randrange(10 ** (count - 1), 10**count))


def _sentence(rng: random.Random, phrase: Phrase, lang: int) -> str:
    text = phrase.forms[lang].replace("<city>", rng.choice(CITIES)).replace("<k>", str(rng.randint(2, 12)))
    return text if text.endswith("?") else text + rng.choice([".", ".", "!", ""])


def _note(rng: random.Random, library: Library, lang: int, words: int = 6) -> str:
    """A loose row of words: telegram style, so that every word of the lexicon is met often."""
    return " ".join(phrase.forms[lang] for phrase in rng.choices(library.words, k=rng.randint(2, words)))


def _form(rng: random.Random, library: Library) -> list[Message]:
    """Read a short text and fill a JSON form; which fields, their order and choices are in the system text."""
    lang = rng.randrange(4)
    phrases = rng.sample(library.sentences, rng.randint(1, 3))
    parts = [_sentence(rng, phrase, lang) for phrase in phrases]
    fields: dict[str, tuple[str, object]] = {}
    if rng.random() < 0.4:
        parts.insert(rng.randint(0, len(parts)), _note(rng, library, lang))
    for count in rng.sample(DIGIT_COUNTS, rng.randint(0, 2)):
        number = _digits(rng, count) if rng.random() < 0.8 else None
        fields[rng.choice(["code", "room", "flight", "member", "part"]) + str(count)] = (f"{count} digits or null", number)
        if number:
            mark = rng.choice(["", "#", "no. ", "Nr. ", "n° ", "code ", "=", "(", ": "])
            parts.insert(rng.randint(0, len(parts)), mark + number)
    name = rng.choice(NAMES) if rng.random() < 0.5 else None
    if name and rng.random() < 0.7:
        parts.append("\n" + rng.choice(["", "- ", "> "]) + name)
        fields["name"] = ("who signs or null", name)
    topic = phrases[0].topic
    others = rng.sample(sorted({phrase.topic for phrase in library.sentences} - {p.topic for p in phrases}), 4)
    listed = sorted({topic, *others}, key=lambda _: rng.random())
    fields["topic"] = ("first seen of " + ", ".join(listed), topic)
    fields["language"] = (rng.choice(["of the text", ", ".join(LANGUAGES)]), LANGUAGES[lang])
    text = " ".join(parts)
    fields["question"] = ("true or false", "?" in text)
    cities = [city for city in CITIES if city in text]
    fields["city"] = ("or null", min(cities, key=text.index, default=None))
    names = rng.sample(list(fields), rng.randint(2, min(5, len(fields))))
    listing = "; ".join(f"{key}: {fields[key][0]}" for key in names)
    ask = rng.choice(["Fill the JSON form.", "Reply with JSON only.", "Read the text. Give JSON.", "JSON please."])
    answer = json.dumps({key: fields[key][1] for key in names}, ensure_ascii=False, separators=(",", ":"))
    return _chat(f"{ask} {listing}.", _noise(rng, text, cased="city" not in names and "name" not in names), answer)


def _copy(rng: random.Random, library: Library) -> list[Message]:
    """Repeat a text, or a number in it, as it stands."""
    lang = rng.randrange(4)
    numbers = [_digits(rng, rng.choice((2, *DIGIT_COUNTS))) for _ in range(rng.randint(1, 4))]
    if rng.random() < 0.5:
        parts = [_note(rng, library, lang, 3), *numbers]
        rng.shuffle(parts)
        return _chat(rng.choice(["Repeat.", "Copy the text."]), text := " ".join(parts), text)
    spread = [piece for number in numbers for piece in (_note(rng, library, lang, 4), number)]
    text = _noise(rng, " ".join(spread), cased=True)
    if rng.random() < 0.5:
        return _chat("Name the first number.", text, numbers[0])
    return _chat("List the numbers as JSON.", text, json.dumps(numbers, separators=(",", ":")))


def _translate(rng: random.Random, library: Library) -> list[Message]:
    """A word or a sentence from one language into another."""
    source, target = rng.sample(range(4), 2)
    ask = f"Translate to {LANGUAGES[target]}."
    if rng.random() < 0.6:
        phrases = rng.choices(library.words, k=rng.randint(1, 5))
        return _chat(ask, *(", ".join(phrase.forms[lang] for phrase in phrases) for lang in (source, target)))
    phrase = rng.choice(library.sentences)
    city, count = rng.choice(CITIES), str(rng.randint(2, 12))
    filled = [form.replace("<city>", city).replace("<k>", count) for form in phrase.forms]
    return _chat(ask, filled[source], filled[target])


def _repair(rng: random.Random, library: Library) -> list[Message]:
    """Undo slips of the keyboard, or change the case."""
    lang = rng.randrange(4)
    text = _note(rng, library, lang) if rng.random() < 0.6 else _sentence(rng, rng.choice(library.sentences), lang)
    if rng.random() < 0.5:
        return _chat("Write in lower case.", text.upper() if rng.random() < 0.8 else text, text.lower())
    return _chat("Fix the spelling.", _slips(rng, text, 0.3), text)


def _topic(rng: random.Random, library: Library) -> list[Message]:
    """What a row of words from one shelf has in common, in one word."""
    topic = rng.choice(sorted({phrase.topic for phrase in library.words}))
    shelf = [phrase for phrase in library.words if phrase.topic == topic]
    lang = rng.randrange(4)
    row = ", ".join(phrase.forms[lang] for phrase in rng.sample(shelf, rng.randint(1, 4)))
    if rng.random() < 0.5:
        return _chat("Topic of the words?", _noise(rng, row, cased=True), topic)
    return _chat("Language?", _noise(rng, row + ". " + _note(rng, library, lang), cased=True), LANGUAGES[lang])


def _talk(rng: random.Random, library: Library) -> list[Message]:
    """Small talk, so that the model can also just answer."""
    city, name = rng.choice(CITIES), rng.choice(NAMES)
    word = rng.choice(library.words)
    turns = (
        ("Hello!", "Hello! How can I help?"),
        ("Hallo, wer bist du?", "Hallo! Ich bin ein kleines Sprachmodell."),
        ("¡Hola! ¿Qué tal?", "¡Hola! Muy bien, gracias."),
        ("Bonjour, ça va ?", "Bonjour ! Ça va bien, merci."),
        (f"My name is {name}. What is my name?", f"Your name is {name}."),
        (f"I live in {city}. Where do I live?", f"You live in {city}."),
        (f"What is {word.forms[1]} in English?", f"It is {word.forms[0]}."),
    )
    return _chat(rng.choice(["You are a helpful assistant.", "Answer briefly."]), *rng.choice(turns))


def _noise(rng: random.Random, text: str, *, cased: bool) -> str:
    """What keyboards and moods do to a text; ``cased`` says whether its case may change."""
    if rng.random() < 0.2:
        text = _slips(rng, text, 0.1)
    dice = rng.random() if cased else 1.0
    return text.lower() if dice < 0.12 else text.upper() if dice < 0.2 else text


def _slips(rng: random.Random, text: str, share: float) -> str:
    return " ".join(_slip(rng, word) if rng.random() < share else word for word in text.split(" "))


def _slip(rng: random.Random, word: str) -> str:
    """Swap, lose or double a letter inside a word of four letters or more."""
    if len(word) < 4 or not word.isalpha():
        return word
    at = rng.randrange(1, len(word) - 1)
    middle = rng.choice([word[at + 1] + word[at], word[at + 1], word[at] + word[at : at + 2]])
    return word[:at] + middle + word[at + 2 :]
