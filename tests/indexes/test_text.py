"""Every text engine promises the same; BM25 in plain Python is the oracle."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexes.analysis import language_of
from indexes.document import Chunk, sha256_of
from indexes.ports import Allowed, TextReader
from indexes.text_exact import ExactTextBuilder, ExactTextReader
from indexes.text_tantivy import TantivyBuilder, TantivyReader, analyzer
from semantic_layer.errors import CorruptGeneration
from tests.indexes.elastic_site import bare_product, cluster_at, text_reader

PASSAGES = [
    "A customer may return shoes within 30 days of delivery.",
    "Returned jackets must carry their tags.",
    "Shipping to Norway takes five working days.",
    "The résumé of every applicant is kept for a year.",
    "Gift cards never expire and cannot be returned.",
    "to be or not to be",
    "東京の店舗では靴を返品できます",
    "Привезённый заказ можно вернуть за тридцать дней",
    "Days of thunder: days, days, days.",
]
ENGINES = ("exact", "tantivy", pytest.param("elasticsearch", marks=pytest.mark.elasticsearch))
Build = Callable[..., TextReader]


def chunk(number: int, text: str, dataset: str = "handbook", title: str = "") -> Chunk:
    return Chunk(number, f"id{number}", dataset, f"{number}.md", title, text, 0, len(text), sha256_of(text))


def analyze(text: str, language: str) -> Sequence[str]:
    return ANALYZERS.setdefault(language, analyzer(language)).analyze(text)


ANALYZERS: dict[str, object] = {}


@pytest.fixture(scope="module")
def build(request: pytest.FixtureRequest) -> Build:
    """Indexes texts with an engine in a folder, and opens the index."""

    def built(
        engine: str,
        folder: Path,
        texts: Sequence[str],
        languages: Mapping[str, str] | None = None,
        datasets: Sequence[str] = (),
    ) -> TextReader:
        folder.mkdir(exist_ok=True)
        languages = languages or {"handbook": "en"}
        chunks = [chunk(n, text, datasets[n] if datasets else "handbook") for n, text in enumerate(texts)]
        if engine == "elasticsearch":
            cluster = cluster_at(request.getfixturevalue("elastic_node").url)
            return text_reader(cluster, bare_product(languages), chunks)
        if engine == "exact":
            exact = ExactTextBuilder(folder, languages, analyze)
            exact.add(chunks)
            exact.seal()
            return ExactTextReader(folder, analyze)
        builder = TantivyBuilder(folder, languages)
        builder.add(chunks)
        builder.seal()
        return TantivyReader(folder)

    return built


@pytest.fixture(scope="module", params=ENGINES)
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, build: Build) -> TextReader:
    return build(request.param, tmp_path_factory.mktemp(request.param), PASSAGES)


def found(reader: TextReader, question: str, k: int = 10, allowed: Allowed | None = None) -> list[int]:
    return reader.search(question, k, allowed)[0].tolist()


def test_words_find_their_inflections(reader: TextReader) -> None:
    assert found(reader, "returning a shoe")[0] == 0
    assert set(found(reader, "returning a shoe")) == {0, 1, 4}


def test_accents_and_case_do_not_matter(reader: TextReader) -> None:
    assert found(reader, "RESUME") == [3]
    assert found(reader, "résumés") == [3]


def test_query_syntax_is_only_words(reader: TextReader) -> None:
    for question in ('AND (norway) OR -"', "title:norway^3 ~ * ? [a TO b]", "Norway?!", '"unclosed norway'):
        assert found(reader, question)[0] == 2
    assert found(reader, "+-&&||!(){}[]^~*?:\\/") == []


def test_a_quoted_phrase_must_occur_with_its_small_words(reader: TextReader) -> None:
    assert found(reader, '"within 30 days"') == [0]
    assert found(reader, '"days of delivery" shoes') == [0]
    assert found(reader, '"days within 30"') == []
    assert found(reader, "“working days” norway") == [2]
    assert found(reader, '"to be or not"') == [5]
    assert found(reader, 'a 5" by 7" label for shoes')[0] == 0
    assert found(reader, '"靴を返品"') == [6]


def test_a_question_of_small_words_alone_is_still_asked(reader: TextReader) -> None:
    assert found(reader, "to be or not to be")[0] == 5


def test_unspaced_scripts_are_found_by_their_bigrams(reader: TextReader) -> None:
    assert found(reader, "靴の返品") == [6]
    assert found(reader, "新幹線") == []


def test_a_passage_in_another_script_is_stemmed_in_its_own_language(reader: TextReader) -> None:
    assert found(reader, "заказы") == [7]


def test_a_filter_leaves_the_ranking_of_the_rest_as_it_was(reader: TextReader) -> None:
    everything = found(reader, "returned shoes days")
    allowed = Allowed(np.array([1, 2, 8], np.int64), len(PASSAGES))
    assert found(reader, "returned shoes days", 10, allowed) == [n for n in everything if n in (1, 2, 8)]
    assert found(reader, "returned shoes days", 1, allowed) == [n for n in everything if n in (1, 2, 8)][:1]
    assert found(reader, "returned", 10, Allowed(np.empty(0, np.int64), len(PASSAGES))) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_equal_scores_come_by_lower_number_also_at_the_cut(engine: str, tmp_path: Path, build: Build) -> None:
    reader = build(engine, tmp_path, ["same words here"] * 300)
    assert found(reader, "words", 7) == list(range(7))
    allowed = Allowed(np.arange(100, 300, dtype=np.int64), 300)
    assert found(reader, "words", 7, allowed) == list(range(100, 107))


@pytest.mark.parametrize("engine", ENGINES)
def test_each_dataset_is_stemmed_in_its_declared_language(engine: str, tmp_path: Path, build: Build) -> None:
    reader = build(engine, tmp_path, ["Die Häuser der Stadt", "Katzen schlafen"], {"handbook": "de-AT"})
    assert found(reader, "Haus") == [0]
    assert found(reader, "die Katze") == [1]


FORMS = {
    "ar": ("الكتاب على الطاولة", "كتاب"),
    "da": ("hundene løber", "hund"),
    "de": ("Rückgaben im Laden", "Rückgabe"),
    "el": ("τα σπίτια", "σπίτι"),
    "en": ("returned shoes", "returning"),
    "es": ("devoluciones gratis", "devolución"),
    "fi": ("taloissa asutaan", "talossa"),
    "fr": ("des chaussures rouges", "chaussure"),
    "hu": ("házak a dombon", "házat"),
    "it": ("scarpe rosse", "scarpa"),
    "nl": ("nieuwe schoenen", "schoen"),
    "no": ("hundene løper", "hunden"),
    "pt": ("sapatos novos", "sapato"),
    "ro": ("lucrurile bune", "lucruri"),
    "ru": ("новые заказы", "заказов"),
    "sv": ("hundarna springer", "hundar"),
    "ta": ("இந்த பாடங்கள்", "பாடங்களை"),
    "tr": ("yeni kitaplar", "kitap"),
}
"""A text and another form of one of its words, in every language that has a stemmer."""


@pytest.mark.parametrize("engine", ENGINES)
def test_every_language_finds_another_form_of_a_word(engine: str, tmp_path: Path, build: Build) -> None:
    texts, languages = [text for text, _ in FORMS.values()], {language: language for language in FORMS}
    reader = build(engine, tmp_path, texts, languages, list(FORMS))
    for number, (language, (_, asked)) in enumerate(FORMS.items()):
        assert number in found(reader, asked), language


@pytest.mark.parametrize("engine", ENGINES)
def test_a_word_is_not_cut_at_its_marks(engine: str, tmp_path: Path, build: Build) -> None:
    texts = ["हिन्दी में लिखा", "हिना और दीप", "می\u200cروم خانه", "روم باستان"]
    reader = build(engine, tmp_path, texts, {"handbook": "hi"})
    assert found(reader, "हिन्दी") == [0]
    assert found(reader, "दी") == []
    assert found(reader, "می\u200cروم") == [2]
    assert found(reader, "روم") == [3]


@pytest.mark.parametrize("engine", ENGINES[1:])
@pytest.mark.parametrize("share", [0.9, 0.2, 0.01])
def test_every_engine_scores_as_the_oracle_does_through_any_filter(
    engine: str, share: float, tmp_path: Path, build: Build
) -> None:
    rng = random.Random(5)
    words = [f"w{n}" for n in range(300)]
    texts = [" ".join(rng.choices(words, k=rng.randint(3, 90))) for _ in range(1_500)]
    oracle, reader = (build(one, tmp_path / one, texts) for one in ("exact", engine))
    allowed = Allowed(np.array([n for n in range(1_500) if rng.random() < share], np.int64), 1_500)
    for _ in range(10):
        question = " ".join(rng.choices(words, k=4))
        for limit in (None, allowed):
            numbers, scores = reader.search(question, 50, limit)
            true_numbers, true_scores = oracle.search(question, 50, limit)
            np.testing.assert_allclose(scores, true_scores, rtol=1e-5)
            assert sorted(numbers) == sorted(true_numbers) or scores[-1] == pytest.approx(true_scores[-1])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=st.text(max_size=60))
def test_any_text_can_be_asked(reader: TextReader, question: str) -> None:
    numbers, scores = reader.search(question, 5)
    assert len(numbers) == len(scores) <= 5


def test_a_damaged_index_is_named(tmp_path: Path, build: Build) -> None:
    build("tantivy", tmp_path, PASSAGES)
    (tmp_path / "meta.json").write_text("{}")
    with pytest.raises(CorruptGeneration, match="text index"):
        TantivyReader(tmp_path)


def test_opening_and_searching_writes_nothing_into_the_sealed_folder(tmp_path: Path, build: Build) -> None:
    build("tantivy", tmp_path, PASSAGES)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    found(TantivyReader(tmp_path), "shoes")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("How long may a customer return shoes?", "en"),
        ("Wie lange kann ein Kunde Schuhe zurückgeben?", "de"),
        ("¿Cuánto tiempo puede un cliente devolver los zapatos?", "es"),
        ("東京で靴を返品できますか", "ja"),
        ("如何退货", "zh"),
        ("Сколько дней", "ru"),
        ("كم عدد الأيام", "ar"),
        ("net revenue 2025", ""),
        ("", ""),
    ],
)
def test_the_language_of_a_question_is_told_or_left_open(text: str, language: str) -> None:
    assert language_of(text) == language
