"""Text as it is stored: NFC, plain line ends, and none of the characters that hide instructions from people."""

from __future__ import annotations

import re
import unicodedata

_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufdd0-\ufdef\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff"
    "\U000e0000-\U000e0fff]"
)
_HIDING = re.compile(
    "[\u034f\u061c\u115f\u1160\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]"
)
_PRESENTATION = re.compile("[\ufb00-\ufb06\ufb13-\ufb17\ufb1d-\ufdcf\ufdf0-\ufdff\ufe70-\ufefc]")
_JOINERS = "\u200c\u200d"
_JOINING_SCRIPTS = (
    "ARABIC", "SYRIAC", "MONGOLIAN", "NKO", "DEVANAGARI", "BENGALI", "GURMUKHI", "GUJARATI", "ORIYA", "TAMIL",
    "TELUGU", "KANNADA", "MALAYALAM", "SINHALA", "MYANMAR", "KHMER", "TIBETAN", "THAI", "LAO",
)  # fmt: skip


def clean(text: str) -> tuple[str, int]:
    """The text in NFC with `\\n` line ends and no unseen characters, and how many hiding ones were removed.

    Removed are control characters, zero-width and bidirectional controls, tag characters and lone surrogates.
    A joiner stays where a script or an emoji needs it, an ideographic variation selector after its ideograph.
    Soft hyphens, byte order marks and plain control characters go without being counted: they are noise.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\f" in text or "\x85" in text:
        text = text.replace("\f", "\n").replace("\x85", "\n")
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if not _UNSEEN.search(text):
        return text, 0
    kept: list[str] = []
    hidden = position = 0
    for match in _UNSEEN.finditer(text):
        kept.append(text[position : match.start()])
        position = match.end()
        if _is_needed(text, match.start()):
            kept.append(match.group())
        elif _HIDING.match(match.group()):
            hidden += 1
    kept.append(text[position:])
    return unicodedata.normalize("NFC", "".join(kept)), hidden


def plain_letters(text: str) -> str:
    """The text with typographic ligatures and Arabic presentation forms as the letters that they show."""
    return _PRESENTATION.sub(lambda match: unicodedata.normalize("NFKC", match.group()), text)


def _is_needed(text: str, index: int) -> bool:
    """Whether the character is one that its neighbours cannot be written without."""
    character = text[index]
    before = text[index - 1] if index else ""
    if "\U000e0100" <= character <= "\U000e01ef":
        return unicodedata.name(before, "").startswith("CJK") if before else False
    if character not in _JOINERS or not before:
        return False
    name = unicodedata.name(before, "")
    if name.startswith(_JOINING_SCRIPTS):
        return True
    after = text[index + 1] if index + 1 < len(text) else ""
    return character == "\u200d" and bool(after) and _is_pictograph(before) and _is_pictograph(after)


def _is_pictograph(character: str) -> bool:
    """Whether the character can stand beside a joiner in an emoji: a symbol, a skin tone or a selector."""
    return character == "\ufe0f" or unicodedata.category(character) in ("So", "Sk")
