"""Put tuned numbers into the text of `parameters.toml`: comments and order stay, comments of a section line up."""

from __future__ import annotations

import re
from collections.abc import Mapping

from f1_predict.errors import ConfigError

_LINE = re.compile(r"^(?P<key>[a-z0-9_]+)(?P<gap> *= *)(?P<value>\[[^\]]*\]|[^#\n]*?)(?P<rest> *(?:#.*)?)$")


def with_numbers(text: str, eras: list[str], numbers: Mapping[str, Mapping[str, float]]) -> str:
    """The text with other numbers.

    Args:
        text: of a file of numbers.
        eras: in the order of the file's lists.
        numbers: by era, by key; keys that are not in `numbers` stay as they are.

    Raises:
        ConfigError: if a key has no line in the text.
    """
    keys = {key for values in numbers.values() for key in values}
    sections: list[list[tuple[str, str]]] = [[]]  # each line: what stands before the comment, the comment
    for line in text.splitlines():
        if line.startswith("["):
            sections.append([])
        match = _LINE.match(line)
        if match is None or match["key"] not in keys:
            sections[-1].append((line, ""))
            continue
        keys.discard(match["key"])
        value = _value([numbers[era][match["key"]] for era in eras])
        sections[-1].append((match["key"] + match["gap"] + value, match["rest"].strip()))
    if keys:
        raise ConfigError(f"the file of numbers has no line for {', '.join(sorted(keys))}. Add it, with a comment.")
    lines = []
    for section in sections:
        width = max((len(front) for front, comment in section if comment), default=0)
        lines += [f"{front.ljust(width)}  {comment}" if comment else front for front, comment in section]
    return "\n".join(lines) + "\n"


def _value(values: list[float]) -> str:
    texts = [_number(value) for value in values]
    return texts[0] if len(set(texts)) == 1 else f"[{', '.join(texts)}]"


def _number(value: float) -> str:
    """A number as a person would write it: no exponent, no trailing zeros beyond the first."""
    if str(value).isdecimal():
        return str(value)
    text = f"{value:.10f}".rstrip("0")
    return text + "0" if text.endswith(".") else text
