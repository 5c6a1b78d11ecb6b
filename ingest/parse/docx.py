"""Word files: mammoth reads styles, lists, tables, notes and text boxes into HTML, which becomes pieces."""

from __future__ import annotations

import html
import io
import re
import zipfile
from pathlib import Path
from typing import Any

from ingest.parse.archive import check_archive, damaged
from ingest.parse.html import html_pieces
from ingest.parse.pieces import Parsed

_STYLES = """
p[style-name='Title'] => h1:fresh
p[style-name='Subtitle'] => p:fresh
p[style-name='heading 1'] => h1:fresh
p[style-name='heading 2'] => h2:fresh
p[style-name='heading 3'] => h3:fresh
p[style-name='heading 4'] => h4:fresh
p[style-name='heading 5'] => h5:fresh
p[style-name='heading 6'] => h6:fresh
p[style-name='heading 7'] => h6:fresh
p[style-name='heading 8'] => h6:fresh
p[style-name='heading 9'] => h6:fresh
"""
_FORMULA = re.compile(rb"<m:oMath(?:\s[^>]*)?>.*?</m:oMath>", re.DOTALL)
_FORMULA_FRAME = re.compile(rb"</?m:oMathPara(?:\s[^>]*)?>|<m:oMathParaPr>.*?</m:oMathParaPr>", re.DOTALL)
_FORMULA_TEXT = re.compile(rb"<m:t(?:\s[^>]*)?>([^<]*)</m:t>")
_MAIN_PART = "word/document.xml"


def parse_docx(path: Path) -> Parsed:
    """A Word file (docx, docm): headings, paragraphs, lists, tables, notes; formulas as their plain characters.

    Word files have no fixed pages. Comments, deleted text and macros are not read.
    Raises SourceFailed where the file is damaged or unpacks to too much.
    """
    import mammoth  # here, so that an ingest without Word files starts sooner

    check_archive(path)
    try:
        result: Any = mammoth.convert_to_html(
            _with_formulas(path), style_map=_STYLES, convert_image=mammoth.images.img_element(_no_image)
        )
        return html_pieces(str(result.value))
    except (
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        AttributeError,
        IndexError,
        OSError,
        RecursionError,
    ) as error:
        raise damaged(path, error) from error


def _no_image(_image: Any) -> dict[str, str]:
    """Images keep only their alternative text."""
    return {}


def _with_formulas(path: Path) -> io.BytesIO:
    """The file's bytes, its formulas rewritten as runs of text that mammoth reads."""
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if _MAIN_PART not in archive.namelist() or b"<m:oMath" not in (main := archive.read(_MAIN_PART)):
            return io.BytesIO(data)
        rewritten = io.BytesIO()
        with zipfile.ZipFile(rewritten, "w", zipfile.ZIP_DEFLATED) as target:
            for part in archive.infolist():
                if part.filename == _MAIN_PART:
                    content = _FORMULA_FRAME.sub(b"", _FORMULA.sub(_as_run, main))
                else:
                    content = archive.read(part)
                target.writestr(part.filename, content)
    rewritten.seek(0)
    return rewritten


def _as_run(match: re.Match[bytes]) -> bytes:
    letters = html.unescape(b"".join(_FORMULA_TEXT.findall(match.group())).decode("utf-8"))
    text = html.escape(f" {letters} ", quote=False).encode()
    return b'<w:r><w:t xml:space="preserve">' + text + b"</w:t></w:r>"
