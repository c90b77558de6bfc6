"""What a worker keeps of one request and its answer for drift detection: a dozen numbers, never text. Pure, bounded, some ten microseconds.

`incoming` and `outgoing` make the two halves. Words are counted in 64 buckets by a checksum, so that a bucket says nothing about which word fell into it;
numbers are no words, so that order, telephone and card numbers are in no bucket. What each number means for the statistics is in features.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from zlib import crc32

import orjson

from gateway.transcript import Transcript

# What is read of the last user message, and how many of its words.
MOST_CHARS = 400
MOST_WORDS = 32
MOST_JSON_BYTES = 65_536
HEAD_CHARS = 200

LANGUAGES = ("none", "unclear", "en", "de", "es", "fr", "it", "pt", "nl", "pl", "latin", "cyrillic", "cjk", "kana", "hangul", "arabic", "indic", "other")
CONTENT = ("json", "code", "number", "link", "tools", "media", "system", "shouting")
FORMATS = ("text", "empty", "tools", "json value", *(f"json object {n}" for n in range(16)))
FINISHES = ("stop", "length", "tool_calls", "content_filter", "other")
RATES = ("invalid", "not_json", "refused", "cut", "filtered")

_NUMBER = re.compile(r"\d{4}")
_COMMON: Mapping[str, str] = {
    "en": "the and you my for is have this that with not would please what it can of i'm your was",
    "de": "der die das und ich nicht ist mein meine bitte sie wir eine einen mit auf für auch wie zu",
    "es": "el los las que mi por no una para está con pero quiero cómo gracias mis del lo hola usted",
    "fr": "le les des je vous est pas mon ma pour une dans sur avec ce et votre bonjour merci que",
    "it": "il che di non per una sono con mio mia della come ho grazie gli questo vorrei ma è nel",
    "pt": "que não uma para com meu minha os por você está mas obrigado como eu dos em da foi quero",
    "nl": "het een ik niet van mijn voor dat kan graag wat heb bij zijn deze maar naar ook",
    "pl": "nie się jest proszę że jak mam czy moje dla tak ale moja mój jestem",
}
# A word of two languages is of none.
_SEEN: dict[str, list[int]] = {}
for _name, _words in _COMMON.items():
    for _word in _words.split():
        _SEEN.setdefault(_word, []).append(LANGUAGES.index(_name))
_LANGUAGE_OF: Mapping[str, int] = {word: found[0] for word, found in _SEEN.items() if len(found) == 1}
_SCRIPTS = (
    (0x0400, 0x052F, LANGUAGES.index("cyrillic")),
    (0x0590, 0x08FF, LANGUAGES.index("arabic")),
    (0x0900, 0x0DFF, LANGUAGES.index("indic")),
    (0x3040, 0x30FF, LANGUAGES.index("kana")),
    (0x3400, 0x9FFF, LANGUAGES.index("cjk")),
    (0xAC00, 0xD7AF, LANGUAGES.index("hangul")),
)
_REFUSALS = re.compile(
    r"i can(?:'|’)?t (?:help|assist|do that|provide|fulfill|comply)|i cannot (?:help|assist|provide|fulfill|comply)"
    r"|i(?:'|’)?m (?:sorry, but|unable to|not able to)|i am unable to|as an ai|against my guidelines"
    r"|leider kann ich (?:nicht|dir|ihnen)|ich kann (?:dir|ihnen) dabei nicht|no puedo (?:ayudar|proporcionar)"
    r"|lo siento, pero|je ne peux pas|je suis désolé, mais|non posso aiutar|não posso ajudar"
)


def incoming(body: Mapping[str, Any], prompt_bytes: int) -> tuple[int, int, int, int, int]:
    """Of a chat body: language, turns, bytes of all text, words as a mask of 64 buckets, content as a mask of CONTENT."""
    messages = body["messages"]
    text, media = _last(messages)
    some = text[:MOST_CHARS]
    # Words with a mark or a number in them are left out: that they are is as likely now as it was before.
    words = [word for word in some.lower().split(None, MOST_WORDS)[:MOST_WORDS] if word.isalpha()]
    mask = 0
    for word in words:
        mask |= 1 << (crc32(word.encode()) & 63)
    content = (
        ("{" in text and '":' in text)
        | ("```" in text or ";\n" in text or "{\n" in text) << 1
        | (_NUMBER.search(some) is not None) << 2
        | ("://" in text) << 3
        | bool(body.get("tools")) << 4
        | media << 5
        | (messages[0].get("role") in {"system", "developer"}) << 6
        | some.isupper() << 7
    )
    return _language(some, words), len(messages), prompt_bytes, mask, content


def outgoing(body: Mapping[str, Any], said: Transcript, finish: str | None) -> tuple[int, int, int, int]:
    """Of an answer: its format, its finish reason, a mask of RATES that came true, and one of those that could have."""
    text, calls = said.text, bool(said.tool_calls)
    ended = FINISHES.index(finish) if finish in FINISHES else FINISHES.index("other")
    cut, filtered = ended == 1, ended == 3
    asked = body.get("response_format")
    wants = asked.get("type") if isinstance(asked, dict) else None
    wants_json = wants in {"json_object", "json_schema"} and not calls
    if len(text) > MOST_JSON_BYTES:
        return 0, ended, cut << 3 | filtered << 4, 0b11000
    kind, value = _format(text, calls=calls)
    is_json = kind >= 3
    wrong = wants_json and not (isinstance(value, dict) and isinstance(asked, dict) and _fits(value, asked))
    refused = kind == 0 and _REFUSALS.search(text[:HEAD_CHARS].lower()) is not None
    happened = wrong | (not is_json) << 1 | refused << 2 | cut << 3 | filtered << 4
    return kind, ended, happened, wants_json | (not calls) << 1 | 0b11100


def _last(messages: list[dict[str, Any]]) -> tuple[str, bool]:
    """The text of the last user message, and whether there is anything but text in it."""
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content, False
            parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
            texts = [part["text"] for part in parts[:8] if isinstance(part.get("text"), str)]
            return " ".join(texts), any("text" not in part for part in parts)
    return "", False


def _language(text: str, words: list[str]) -> int:
    votes = [_LANGUAGE_OF[word] for word in words if word in _LANGUAGE_OF]
    if votes:
        return max(votes, key=votes.count)
    if not text.isascii() and (script := _script(text)):
        return script
    return 1 if words else 0


def _script(text: str) -> int:
    """The script of sixteen characters spread over the text, where most of them are not Latin; 0: they are."""
    spread = text[:: len(text) // 16 + 1]
    votes = [_script_of(ord(char)) for char in spread if char > "ɏ" and char.isalpha()]
    return max(votes, key=votes.count) if len(votes) * 3 > len(spread) else 0


def _script_of(point: int) -> int:
    for first, last, script in _SCRIPTS:
        if first <= point <= last:
            return script
    return LANGUAGES.index("other")


def _format(text: str, *, calls: bool) -> tuple[int, Any]:
    """The place in FORMATS, and the value where it is JSON. Objects with the same keys are of one format."""
    bare = text.strip()
    if not bare:
        return (2 if calls else 1), None
    if bare[0] not in "{[":
        return 0, None
    try:
        value = orjson.loads(bare)
    except orjson.JSONDecodeError:
        return 0, None
    if isinstance(value, dict):
        return 4 + (crc32("\0".join(sorted(value)[:64]).encode("utf-8", "replace")) & 15), value
    return 3, value


def _fits(value: dict[str, Any], asked: Mapping[str, Any]) -> bool:
    """Whether an object has the keys, and at its top the types and words, of the schema that was asked for. What is nested is not looked into."""
    schema = asked.get("json_schema")
    schema = schema.get("schema") if isinstance(schema, dict) else None
    if not isinstance(schema, dict):
        return True
    required, properties = schema.get("required"), schema.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    if isinstance(required, list) and any(name not in value for name in required if isinstance(name, str)):
        return False
    if schema.get("additionalProperties") is False and any(name not in properties for name in value):
        return False
    return all(_is_of(value[name], rule) for name, rule in properties.items() if name in value)


_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}


def _is_of(value: object, rule: object) -> bool:
    if not isinstance(rule, dict):
        return True
    words = rule.get("enum")
    if isinstance(words, list) and value not in words:
        return False
    named = rule.get("type")
    names = [named] if isinstance(named, str) else named if isinstance(named, list) else []
    allowed = [kind for name in names if isinstance(name, str) for kind in _TYPES.get(name, (object,))]
    if not allowed:
        return True
    return type(value) in allowed or (object in allowed) or (isinstance(value, float) and value.is_integer() and int in allowed)
