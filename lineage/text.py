"""Text for messages: the nearest name, a value in the notation of a command, and the comments of keys."""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

# What a note begins with that acts on the result, and one that may make it worthless. The others are harmless.
CAREFUL, DANGER = "careful: ", "danger: "


def nearest(word: str, words: Iterable[str], prefix: str = "") -> str:
    """The sentence " Did you mean X?", X being the most similar of `words` after `prefix`; or nothing.

    A word that another one continues after "_" comes first (ema and ema_decay); case does not count (adamW is adamw).
    """
    words = list(words)
    longer = [other for other in words if word.startswith(f"{other}_") or other.startswith(f"{word}_")]
    near = difflib.get_close_matches(word.lower(), longer or words, n=1, cutoff=0 if longer else 0.5)
    return f" Did you mean {prefix}{near[0]}?" if near else ""


def as_yaml(value: Any) -> str:
    """A value in the notation of a command: null, true, 0.1, [1,2]."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return f"[{','.join(map(as_yaml, value))}]"
    return str(value).replace(" ", "")


def flat(prefix: str, node: Any) -> dict[str, Any]:
    """The values of nested mappings by their dotted keys."""
    if not isinstance(node, dict):
        return {prefix: node}
    return {k: v for name, part in node.items() for k, v in flat(f"{prefix}.{name}".lstrip("."), part).items()}


def visible(text: str) -> str:
    """The text with a sign for what a terminal obeys, a page cannot hold or a reader cannot see: control characters,
    turned directions, and bytes of names that are no UTF-8."""
    return "".join("\ufffd" if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Cn") else letter for letter in text)


def comments(text: str) -> dict[str, str]:
    """The comment of each key of a YAML, or field of a class: on the lines above, on its own, and further right below.

    A key without a comment has an empty one.
    """
    found, above, key = dict[str, str](), list[str](), ""
    for line in text.splitlines():
        note = re.match(r"( *)# ?(.*)", line)
        if entry := re.match(r" *(\w+):(?: .*?)?(?: +# (.*))?$", line):
            key = entry[1]
            sentences = filter(None, [entry[2], " ".join(above).rstrip(".")])
            found[key], above = found.get(key) or ". ".join(sentences), []
        elif note and key and len(note[1]) > 16:
            found[key] += f" {note[2]}"
        else:
            above = [*above, note[2]] if note else []
    return found


def duration(seconds: float) -> str:
    """In at most six letters: 59 s, 12 min, 3.5 h, 2.1 d."""
    for unit, size, most in (("s", 1, 60), ("min", 60, 3600), ("h", 3600, 86400)):
        if round(seconds) < most:
            return f"{seconds / size:.{int(unit == 'h')}f} {unit}"
    return f"{seconds / 86400:.1f} d"
