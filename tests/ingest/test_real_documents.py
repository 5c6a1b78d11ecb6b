"""Documents that nobody here wrote: text, pages and tables are found again in their chunks; scans are named."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from indexes.document import Chunk, Document
from ingest.chunk import chunk_document
from ingest.parse.document import parse_document
from ingest.token_sizes import CountTokens
from semantic_layer.errors import SourceFailed

FOLDER = Path(__file__).parents[2].parent / "shared" / "truth" / "documents"
SCANS = {"docling_nemotron_multipage.pdf", "docling_ocr_test.pdf"}

pytestmark = [
    pytest.mark.truth,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="no truth folder beside the project"),
]

FOUND = {
    "docling_2305.03393v1-pg9.pdf": [(1, "5.2 Quantitative Results"), (1, "6 6 OTSL 0.965 0.934 0.955 0.88 2.73")],
    "docling_amt_handbook_sample.pdf": [(1, "the elastic stop nut, representing the fiber insert type")],
    "docling_code_and_formula.pdf": [(1, "function add(a, b)"), (2, "Formula")],
    "docling_drawingml.docx": [(None, "Torque v/s Speed characteristics")],
    "docling_kvp_data_example.html": [(None, "Quack Quackling"), (None, "| II | Lunch | 2 |")],
    "docling_multi_page.pdf": [(1, "IBM MT/ST"), (2, "Google Docs"), (5, "word processor")],
    "docling_normal_4pages.pdf": [(1, "코로나바이러스감염증-19"), (2, "감염병예방법 제2조제2호")],
    "docling_picture_classification.pdf": [(1, "Figure 1: This is an example image."), (2, "Figure 2")],
    "docling_powerpoint_sample.pptx": [(1, "| R1 | True | False |"), (2, "And baz things"), (3, "List item6")],
    "docling_powerpoint_with_image.pptx": [(1, "A cartoon duck holding a paper")],
    "docling_pptx_chart.pptx": [(1, "| 2021 | 150 | 110 |"), (2, "| Q2 | 20 |")],
    "docling_redp5110_sampled.pdf": [
        (3, "DB2 for i Center of Excellence"),
        (9, "QIBM_DB_SECADM also is responsible for administering RCAC"),
        (12, "PACKAGE_VERSION VARCHAR(64)"),
        (16, "MASK_DRIVERS_LICENSE_ON_CUSTOMERS"),
    ],
    "docling_right_to_left_01.pdf": [(1, "تحسين الإنتاجية وحل المشكلات من خلال البرمجة")],
    "docling_table_06.html": [(None, "A1, B1, C1"), (None, "E3, E4"), (None, "After table")],
    "docling_text_document_03.odt.pdf": [(1, "Cell 1 Cell 2 Cell 3"), (2, "R2C2 item 2")],
    "docling_wiki_duck.html": [(None, "| Family: | Anatidae |"), (None, "Etymology")],
    "docling_word_sample.docx": [(None, "| Berries | Blueberry, Strawberry, Cranberry | 150 |")],
    "docling_word_tables.docx": [(None, "| Cell 2.0 | Merged Cell 1.1 2.1 | Cell 2.2 |"), (None, "Cell 8.4")],
    "docling_xlsx_01.xlsx": [(1, "| 5 | 1 | -3 |"), (2, "| 8 | 16 | 24 | 32 | 4 | 8 | 12 |"), (4, "header")],
}


def read(name: str) -> Document:
    return parse_document(FOLDER / name, "documents", name)


def words(text: str) -> Counter[str]:
    without_images = re.sub(r"<!--.*?-->", " ", text)
    return Counter(re.findall(r"\w+", without_images.casefold()))


def holds(chunk: Chunk, text: str) -> bool:
    return " ".join(text.split()) in " ".join(chunk.text.split())


@pytest.mark.parametrize("name", sorted(FOUND))
def test_text_and_tables_are_found_on_their_page(name: str, count_tokens: CountTokens) -> None:
    document = read(name)
    chunks = chunk_document(document, "truth", count_tokens, 256)
    assert max(count_tokens([chunk.embedded_text for chunk in chunks])) <= 256
    for page, text in FOUND[name]:
        assert any(holds(chunk, text) and chunk.page == page for chunk in chunks), (page, text)


@pytest.mark.parametrize("name", sorted(SCANS))
def test_scans_are_named_as_needing_ocr(name: str) -> None:
    with pytest.raises(SourceFailed, match="needs OCR, which is not built in") as failure:
        read(name)
    assert name in failure.value.message


def test_every_document_is_read_or_named() -> None:
    names = {path.name for path in FOLDER.iterdir() if not path.name.startswith("gt_")}
    assert names == FOUND.keys() | SCANS


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("docling_code_and_formula.pdf", "gt_docling_code_and_formula.md"),
        ("docling_multi_page.pdf", "gt_docling_multi_page.md"),
        ("docling_word_sample.docx", "gt_docling_word_sample.docx.md"),
    ],
)
def test_the_words_of_the_reference_text_are_there(name: str, reference: str) -> None:
    wanted = words((FOLDER / reference).read_text(encoding="utf-8"))
    found = words(read(name).text)
    recall = (wanted & found).total() / wanted.total()
    assert recall >= 0.97
