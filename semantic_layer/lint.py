"""Looks through the texts of a product that agents will read: hidden characters and instructions stop it.

A description is attack surface: it reaches a model as if its owner had said it. Bidirectional controls are those
of "Trojan Source" (CVE-2021-42574); the tag block U+E0000 and variation selectors carry text that nobody sees.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator

from semantic_layer.contract_hints import APPROVED, PRODUCT, read_hints
from semantic_layer.findings import Findings
from semantic_layer.yaml_file import Node

_JOINERS = "\u200c\u200d"
_BLANK = "\u115f\u1160\u2800\u3164\uffa0\u00ad"
_SELECTORS = re.compile("[\ufe00-\ufe0f]{2,}|[\U000e0100-\U000e01ef]")
_INSTRUCTION = re.compile(
    r"""
    \b(ignore|disregard|forget|override)\b.{0,40}\b(instruction|prompt|rule|guideline|polic|previous|above|prior)
    | \b(system|developer)\s+(prompt|message|instruction)
    | \b(do\s+not|don't|never)\s+(tell|reveal|mention|inform|show|disclose)\b.{0,40}\b(user|human|anyone|operator)
    | \byou\s+(are\s+now|must\s+(now|always|never|call|send|use)|should\s+(now|always\s+call))\b
    | \b(call|invoke|execute|run)\s+(the|this|a)\s+(tool|function|command|following)\b
    | \b(send|post|forward|upload|exfiltrate)\b.{0,60}\b(https?://|to\s+the\s+(url|address|email))
    | <\|?\s*(im_start|im_end|system|assistant|user|endoftext)\s*\|?>
    | \[/?(INST|SYS)\]
    | ^\s*(system|assistant|user)\s*:\s
    """,
    re.IGNORECASE | re.VERBOSE | re.MULTILINE | re.DOTALL,
)


def lint(node: Node, findings: Findings, approved: Collection[str] = ()) -> None:
    """Look through every text of a file: a hidden character is a problem, and so is an instruction to an agent
    that is not `approved` (by `text_mark`): a text that changes must be approved anew.
    """
    for place, text in _texts(node):
        hidden = hidden_characters(text)
        if hidden:
            named = ", ".join(dict.fromkeys(_named(char) for char in hidden))
            findings.problems.append(place.problem(f"the text holds hidden characters ({named}).", "Remove them."))
        found = _INSTRUCTION.search(text)
        if found and text_mark(text) not in approved:
            said = " ".join(found[0].split())[:60]
            message = f"the text reads like an instruction to an agent: {said!r}."
            step = (
                f"Describe the data. If it is right, list {text_mark(text)} in the contract's `{APPROVED}` hint."
            )
            findings.problems.append(place.problem(message, step))


def text_mark(text: str) -> str:
    """How an approval names a text: the first 12 digits of its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def approved_texts(contract: Node) -> frozenset[str]:
    """The marks of texts that the contract's `approved_texts` hint lets pass."""
    listed = read_hints(contract, PRODUCT, "the contract", []).node.get(APPROVED)
    return frozenset(str(item.value) for item in (listed.items if listed else None) or ())


def hidden_characters(text: str) -> list[str]:
    """The characters that a reader does not see or that reorder what they see, in order.

    Joiners between letters of scripts that need them, and a single emoji selector, are not among them.
    """
    if text.isascii() and text.isprintable():
        return []
    found = [char for number, char in enumerate(text) if _hidden(char, text, number)]
    return found + [match[0][0] for match in _SELECTORS.finditer(text)]


def _hidden(char: str, text: str, number: int) -> bool:
    if char in _JOINERS:
        around = text[max(0, number - 1) : number] + text[number + 1 : number + 2]
        return len(around) < 2 or any(neighbour.isascii() for neighbour in around)
    if char in _BLANK:
        return True
    category = unicodedata.category(char)
    return category == "Cf" or (category in ("Cc", "Co", "Cs") and char not in "\n\r\t")


def _named(char: str) -> str:
    return f"U+{ord(char):04X} {unicodedata.name(char, 'control')}"


def text_fingerprint(nodes: Iterable[Node]) -> str:
    """SHA-256 over every text of these files in reading order: what agents are told, pinned in a generation."""
    digest = hashlib.sha256()
    for node in nodes:
        for _, text in _texts(node):
            digest.update(text.encode("utf-8", "surrogatepass") + b"\x1f")
    return digest.hexdigest()


def _texts(node: Node) -> Iterator[tuple[Node, str]]:
    if isinstance(node.value, str):
        yield node, node.value
    for key, child in (node.mapping or {}).items():
        yield node, key
        yield from _texts(child)
    for item in node.items or ():
        yield from _texts(item)
