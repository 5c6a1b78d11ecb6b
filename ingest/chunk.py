"""Documents become Chunks: by sections and sentences, within the embedder's own token limit, nothing left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from indexes.document import Block, Chunk, Document, chunk_id, sha256_of
from ingest.parse.pieces import CODE, HEADING, LIST, TABLE
from ingest.sections import Section, sections
from ingest.token_sizes import LONGEST_WORD, CountTokens, TokenSizes
from semantic_layer.errors import InvalidArgument

CHUNKER_VERSION = "1"
"""Part of a generation's recipe: raised whenever the same document would give other chunks."""

_SMALLEST_LIMIT = 32
_WINDOW = 1_000_000
_LONG_WORD = re.compile(rf"\S{{{LONGEST_WORD + 1}}}")
_SLICE = re.compile(rf"\s*\S{{1,{LONGEST_WORD}}}|\s+")
_SENTENCE = re.compile(
    r".+?(?:(?<![.!?…])[.!?…]++[\"'”’)\]]*+(?=\s++[^\sa-z])|[。！？；]++[”’」』）]*+|\n[ \t]*+(?=\n)|\Z)\s*+",
    re.DOTALL,
)
_TABLE_RULE = re.compile(r"[\s|:-]+\Z")


@dataclass(frozen=True)
class _Passage:
    """A span of the text with its tokens; `header` is a table's header that its later rows are given again."""

    start: int
    end: int
    size: int
    header: str = ""
    only_headings: bool = False


@dataclass(frozen=True)
class _Limits:
    """Tokens that a passage may have: `target` when packing, `most` where the model would cut."""

    target: int
    most: int


def chunk_document(
    document: Document,
    product: str,
    count_tokens: CountTokens,
    max_tokens: int,
    target_tokens: int = 200,
) -> list[Chunk]:
    """The chunks of one document in reading order, numbered from 0; the same input gives the same chunks.

    `embedded_text` of every chunk (title, heading, text) has at most `max_tokens` tokens by `count_tokens`,
    and every character of the document that is not white space lies in some chunk's `[start, end)`. `text` is
    the document's text of that span; only the later parts of a long table carry the table's header in front of
    their rows. Passages keep to one page, and to one section of about `target_tokens` where sections are not
    tiny. A text without blocks (a row's text column) that fits is one chunk. A title or heading that would take
    more than a quarter of the limit is shortened in the chunk, never in the document.
    Raises InvalidArgument where the limits are too small to hold anything.
    """
    if max_tokens < _SMALLEST_LIMIT or target_tokens < _SMALLEST_LIMIT // 2:
        raise InvalidArgument(
            f"chunks of at most {max_tokens} tokens, about {target_tokens}, are too small.",
            hint=f"Use an embedding model that reads at least {_SMALLEST_LIMIT} tokens.",
        )
    sizes = _sizes_of(count_tokens)
    sizes.learn([document.text, document.title])
    maker = _Maker(document, product, sizes, max_tokens, _shortened(document.title, max_tokens // 4, sizes))
    if not document.blocks and (whole := maker.whole()):
        return [whole]
    chunks: list[Chunk] = []
    tiny = target_tokens // 5
    room = maker.room(())
    for section in sections(document, sizes, tiny=tiny, limit=min(target_tokens, room)):
        headings = tuple(_shortened(heading, max_tokens // 4, sizes) for heading in section.headings)
        most = maker.room(headings)
        limits = _Limits(min(target_tokens, most), most)
        for passage in _packed(_passages(document.text, section, limits, sizes), limits, tiny):
            chunks.extend(maker.chunks(passage, section.page, headings))
    return [replace(chunk, number=number) for number, chunk in enumerate(chunks)]


@lru_cache(maxsize=2)
def _sizes_of(count_tokens: CountTokens) -> TokenSizes:
    """One memo of word sizes an embedder, so that a corpus counts each of its words once."""
    return TokenSizes(count_tokens)


@dataclass(frozen=True)
class _Maker:
    """Makes the chunks of one document and sees to it that each fits the model."""

    document: Document
    product: str
    sizes: TokenSizes
    max_tokens: int
    title: str

    def room(self, headings: tuple[str, ...]) -> int:
        """The tokens left for a passage under these headings."""
        context = dict.fromkeys((self.title, *headings[-1:]))
        return self.max_tokens - self.sizes.special - sum(self.sizes.of(part) for part in context if part)

    def whole(self) -> Chunk | None:
        """The whole text as one chunk, where it fits."""
        text = self.document.text
        size = self.sizes.of(text)
        if size > self.room(()) or not text.strip():
            return None
        start = len(text) - len(text.lstrip())
        chunk = self._chunk(_Passage(start, len(text.rstrip()), size), None, ())
        return chunk if self._fits(chunk, size) else None

    def chunks(self, passage: _Passage, page: int | None, headings: tuple[str, ...]) -> Iterator[Chunk]:
        """The passage as a chunk; as several where the tokenizer counts more than its words promised."""
        chunk = self._chunk(passage, page, headings)
        if self._fits(chunk, passage.size):
            yield chunk
            return
        if passage.header:
            yield from self.chunks(replace(passage, header=""), page, headings)
            return
        for half in self._halves(passage):
            yield from self.chunks(half, page, headings)

    def _fits(self, chunk: Chunk, size: int) -> bool:
        estimate = self.max_tokens - self.room(chunk.headings) + size
        if estimate + estimate // 16 + 2 <= self.max_tokens:
            return True
        return self.sizes.exact([chunk.embedded_text])[0] <= self.max_tokens

    def _halves(self, passage: _Passage) -> Iterator[_Passage]:
        text = self.document.text[passage.start : passage.end]
        if len(text) < 2:
            raise InvalidArgument(
                f"{self.document.name}: one character and its title exceed {self.max_tokens} tokens.",
                hint="Use an embedding model that reads more tokens.",
            )
        middle = len(text) // 2
        space = next((match.end() for match in re.finditer(r"\s+", text) if match.end() >= middle), 0)
        cut = space if 0 < space < len(text) else middle
        for start, end in ((0, cut), (cut, len(text))):
            half = text[start:end]
            if half.strip():
                begins = passage.start + start + len(half) - len(half.lstrip())
                yield _Passage(begins, passage.start + start + len(half.rstrip()), self.sizes.of(half))

    def _chunk(self, passage: _Passage, page: int | None, headings: tuple[str, ...]) -> Chunk:
        span = self.document.text[passage.start : passage.end]
        text = f"{passage.header}\n{span}" if passage.header else span
        digest = sha256_of(text)
        document = self.document
        return Chunk(
            number=0,
            id=chunk_id(self.product, document.dataset, document.name, passage.start, digest),
            dataset=document.dataset,
            document=document.name,
            title=self.title,
            text=text,
            start=passage.start,
            end=passage.end,
            sha256=digest,
            page=page,
            headings=headings,
            text_column=document.text_columns[0] if len(document.text_columns) == 1 else "",
        )


def _packed(passages: Iterator[_Passage], limits: _Limits, tiny: int) -> list[_Passage]:
    """Neighbours joined up to the target size; a heading joins what follows it, a tiny rest what went before."""
    packed: list[_Passage] = []
    for passage in passages:
        last = packed[-1] if packed else None
        if last is not None and not last.header and not passage.header:
            together = last.size + passage.size
            stretch = last.only_headings or passage.size < tiny
            if together <= (limits.most if stretch else limits.target):
                only = last.only_headings and passage.only_headings
                packed[-1] = _Passage(last.start, passage.end, together, only_headings=only)
                continue
        packed.append(passage)
    return packed


def _passages(text: str, section: Section, limits: _Limits, sizes: TokenSizes) -> Iterator[_Passage]:
    """The section's blocks as passages of at most the target size."""
    for block in section.blocks:
        span = text[block.start : block.end]
        size = sizes.of(span)
        if size <= limits.target:
            start = block.start + len(span) - len(span.lstrip())
            end = block.start + len(span.rstrip())
            yield _Passage(start, end, size, only_headings=block.kind == HEADING)
        elif block.kind == TABLE:
            yield from _table(text, block, limits, sizes)
        else:
            yield from _prose(text, block.start, block.end, block.kind in (LIST, CODE), limits, sizes)


def _table(text: str, block: Block, limits: _Limits, sizes: TokenSizes) -> Iterator[_Passage]:
    """A long table by rows; every part but the first is given the header rows again, unless they are long."""
    lines = [match.span() for match in re.finditer(r"[^\n]+", text[block.start : block.end])]
    rows = [(block.start + start, block.start + end) for start, end in lines]
    ruled = len(rows) > 1 and bool(_TABLE_RULE.match(text[rows[1][0] : rows[1][1]]))
    header = text[rows[0][0] : rows[1][1]] if ruled else ""
    header_size = sizes.of(header)
    if not header or header_size > limits.target // 2:
        yield from _prose(text, block.start, block.end, True, limits, sizes)
        return
    start, end, size, above = rows[0][0], rows[1][1], header_size, ""
    for row_start, row_end in rows[2:]:
        row_size = sizes.of(text[row_start:row_end])
        if size + row_size > limits.target:
            yield _Passage(start, end, size, above)
            start, size, above = row_start, header_size, header
        if header_size + row_size > limits.target:
            yield from _prose(text, row_start, row_end, False, limits, sizes)
            start, above = row_end, header
        else:
            size += row_size
        end = row_end
    if text[start:end].strip():
        yield _Passage(start, end, size, above)


def _prose(
    text: str, start: int, end: int, by_line: bool, limits: _Limits, sizes: TokenSizes
) -> Iterator[_Passage]:
    """A long run of text by paragraphs or lines, then sentences, phrases, words and at last characters."""
    splitter = _splitter(sizes, limits.target, "\n" if by_line else "\n\n")
    position = start
    while position < end:
        stop = min(end, position + _WINDOW)
        if stop < end:
            gap = max(text.rfind(space, position + 1, stop) for space in " \n")
            stop = gap if gap > position else stop
        for part in splitter.split_text(text[position:stop]):
            found = text.index(part, position, stop)
            position = found + len(part)
            yield _Passage(found, position, sizes.of(part))
        position = stop


@lru_cache(maxsize=256)
def _splitter(sizes: TokenSizes, limit: int, separator: str) -> Any:
    """A llama-index sentence splitter that counts by our memo: no download, no global settings."""
    from llama_index.core.node_parser import SentenceSplitter  # seconds to import: only when a text is long

    def pieces(text: str) -> list[str]:
        return [piece for sentence in _SENTENCE.findall(text) for piece in _short_words(sentence, sizes, limit)]

    return SentenceSplitter(
        chunk_size=limit,
        chunk_overlap=0,
        paragraph_separator=separator,
        tokenizer=lambda text: range(sizes.of(text)),
        chunking_tokenizer_fn=pieces,
    )


def _short_words(sentence: str, sizes: TokenSizes, limit: int) -> list[str]:
    """The sentence; in slices where a word in it is too long for any passage."""
    if _LONG_WORD.search(sentence) and sizes.of(sentence) > limit:
        return _SLICE.findall(sentence)
    return [sentence]


def _shortened(text: str, limit: int, sizes: TokenSizes) -> str:
    """The text, or the longest beginning of it that fits with an ellipsis."""
    if sizes.of(text) <= limit:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if sizes.of(text[:middle].rstrip() + "…") <= limit:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…"
