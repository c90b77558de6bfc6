"""The base model's schooling: generated exercises in general skills, in four languages.

Copying, naming topics and languages, and filling small JSON forms of many shapes. Words come from ``lexicon.tsv``,
sentences from ``sentences.tsv``, letters from ``letters.py``. Not here: anything of the demo's own task; its form, its
labels and which of several matters counts (``tickets.py``) are for the adapter to learn.
"""

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.demo import letters
from deploy.demo.tickets import load_wording

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
    """All phrases the exercises are made of; ``loose`` are single words of everyday mail in each of ``LANGUAGES``, met without any meaning attached."""

    words: tuple[Phrase, ...]
    sentences: tuple[Phrase, ...]
    loose: tuple[tuple[str, ...], ...]


def load_library() -> Library:
    """Read both tables; each row is topic, English, German, Spanish, French."""
    return Library(_table("lexicon.tsv"), _table("sentences.tsv"), _loose())


def _loose() -> tuple[tuple[str, ...], ...]:
    """A tokenizer's words must have been met by the model, or all of them look alike to it; what they mean for the demo's task is not said here."""
    wording = load_wording()
    texts = (" ".join(piece for part in wording[lang].values() for piece in part) for lang in ("en", "de", "es", "fr"))
    return tuple(tuple(sorted(set(re.findall(r"[^\W\d_]{2,}", text)))) for text in texts)


def _table(name: str) -> tuple[Phrase, ...]:
    rows = (Path(__file__).parent / name).read_text("utf-8").splitlines()
    cells = (row.split("\t") for row in rows)
    return tuple(Phrase(topic, tuple(forms)) for topic, *forms in cells)


def exercises(library: Library, seed: int) -> Iterator[list[Message]]:
    """Endless conversations (system, user, assistant), the same for the same seed."""
    rng = random.Random(seed)
    kinds: Sequence[tuple[Callable[[random.Random, Library], list[Message]], int]] = (
        (_mail, 52),
        (_form, 12),
        (_copy, 14),
        (_topic, 20),
        (_talk, 2),
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
    count = rng.randint(2, words)
    if rng.random() < 0.5:
        return " ".join(rng.choices(library.loose[lang], k=count))
    return " ".join(phrase.forms[lang] for phrase in rng.choices(library.words, k=count))


def _text(rng: random.Random, library: Library, lang: int) -> tuple[list[str], list[str]]:
    """One to three parts, sentences or a few words of one shelf: the topics in order of appearance, and how the parts read in `lang`."""
    topics: list[str] = []
    parts: list[str] = []
    for _ in range(rng.randint(1, 3)):
        pool = library.sentences if rng.random() < 0.55 else library.words
        near = [phrase for phrase in pool if phrase.topic == topics[-1]] if topics and rng.random() < 0.3 else []
        first = rng.choice(near or pool)
        shelf = [phrase for phrase in library.words if phrase.topic == first.topic]
        more = rng.choices(shelf, k=rng.randint(1, 2)) if pool is library.words else []
        parts.append(_sentence(rng, first, lang) if not more else ", ".join(phrase.forms[lang] for phrase in (first, *more)) + ".")
        topics.append(first.topic)
    return list(dict.fromkeys(topics)), parts


def _form(rng: random.Random, library: Library) -> list[Message]:
    """Read a short text and fill a JSON form; the system text says which fields, in which order."""
    lang = rng.randrange(4)
    topics, parts = _text(rng, library, lang)
    asked = rng.choice([rng.choice(topics), rng.choice(library.sentences).topic])
    fields: dict[str, object] = {
        "topic": topics[0],
        "topics": topics,
        "language": LANGUAGES[lang],
        asked: asked in topics,
    }
    for count in rng.sample(DIGIT_COUNTS, rng.randint(0, 2)):
        number = _digits(rng, count) if rng.random() < 0.8 else None
        fields[f"number{count}"] = number
        if number:
            mark = rng.choice(["", "#", "no. ", "Nr. ", "n° ", "code ", "=", "(", ": "])
            parts.insert(rng.randint(0, len(parts)), mark + number)
    if rng.random() < 0.3:
        name = rng.choice(NAMES)
        parts.append("\n" + rng.choice(["", "- ", "> "]) + name)
        fields["name"] = name
    text = " ".join(parts)
    fields["question"] = "?" in text
    names = list(dict.fromkeys([rng.choice(["topic", "topics", asked]), *rng.sample(list(fields), rng.randint(1, 3))]))
    rng.shuffle(names)
    ask = rng.choice(["Fill the form:", "JSON only:", "Read the text. Give JSON:", "JSON:"])
    answer = json.dumps({key: fields[key] for key in names}, ensure_ascii=False, separators=(",", ":"))
    return _chat(f"{ask} {', '.join(names)}.", _noise(rng, text, cased="name" not in names), answer)


def _mail(rng: random.Random, library: Library) -> list[Message]:
    """Say what a letter is about."""
    return _chat(*letters.form(rng, sorted({phrase.topic for phrase in library.words}), library.loose))


def _copy(rng: random.Random, library: Library) -> list[Message]:
    """Repeat a text, or a number in it, as it stands."""
    lang = rng.randrange(4)
    numbers = [_digits(rng, rng.choice((2, *DIGIT_COUNTS))) for _ in range(rng.randint(1, 4))]
    if rng.random() < 0.25:
        parts = [_note(rng, library, lang, 3), *numbers]
        rng.shuffle(parts)
        return _chat(rng.choice(["Repeat.", "Copy the text."]), text := " ".join(parts), text)
    spread = [piece for number in numbers for piece in (_note(rng, library, lang, 4), number)]
    text = _noise(rng, " ".join(spread), cased=True)
    if rng.random() < 0.5:
        return _chat("Name the first number.", text, numbers[0])
    return _chat("List the numbers as JSON.", text, json.dumps(numbers, separators=(",", ":")))


def _topic(rng: random.Random, library: Library) -> list[Message]:
    """What a row of words from one shelf has in common, in one word."""
    topic = rng.choice(sorted({phrase.topic for phrase in library.words}))
    shelf = [phrase for phrase in library.words if phrase.topic == topic]
    lang = rng.randrange(4)
    row = ", ".join(phrase.forms[lang] for phrase in rng.sample(shelf, min(len(shelf), rng.randint(1, 6))))
    if rng.random() < 0.8:
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
