"""Redis and MongoDB as live document stores: the oracle's rows, and every fault by name within its deadline."""

from __future__ import annotations

import contextlib
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from datetime import time as time_of_day
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bson import Binary, Decimal128, ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient

from indexes import records_mongodb, records_redis
from indexes.cancellation import Cancellation, working_for
from indexes.document_store import DocumentStore, keys_wanted, place_of
from indexes.records_live import LiveDocuments
from indexes.records_mongodb import MongoStore
from indexes.records_redis import KeyPattern, RedisStore
from semantic_layer.errors import Cancelled, DeadlineExceeded, EngineUnavailable, InvalidArgument, SourceFailed
from semantic_layer.predicate import TRUE, And, Compare, In, Predicate, evaluate
from semantic_layer.product import Column, ColumnType, Dataset, Server
from tests.document_servers import DocumentServer, MongoServer, RedisServer, redis_server
from tests.mongodb_stub import mongodb_stub
from tests.semantic_layer.test_sql_predicate import COLUMNS, predicates, rows

SKU = Column("sku", ColumnType.STRING, key_position=1, path="$.sku")
STOCK = Column("stock", ColumnType.INTEGER, path="$.stock")
COLOUR = Column("colour", ColumnType.STRING, path="$.attributes.colour")
GOODS = Dataset("goods", "record", (SKU, STOCK, COLOUR), live=True)

BOTH = (pytest.param("redis", marks=pytest.mark.redis), pytest.param("mongodb", marks=pytest.mark.mongodb))


class Shop:
    """One kind of server with a store over it, and a way to put documents there."""

    def __init__(self, node: DocumentServer, store: DocumentStore, fill: Callable[[list[dict[str, Any]]], None]):
        self.node, self.store, self.fill = node, store, fill

    def fetch(
        self, where: Predicate = TRUE, dataset: Dataset = GOODS, seconds: float = 5.0, order: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        return LiveDocuments(self.store, dataset).fetch(dataset.columns, where, order, 100, seconds)


def redis_shop(node: RedisServer) -> Shop:
    def fill(documents: list[dict[str, Any]]) -> None:
        with contextlib.closing(node.client) as client:
            client.flushall()
            for document in documents:
                client.set(f"goods:{document['sku']}", json.dumps(document))

    return Shop(node, RedisStore(node.url), fill)


def mongo_shop(node: MongoServer) -> Shop:
    def fill(documents: list[dict[str, Any]]) -> None:
        with MongoClient[Any](node.url) as client:
            client.drop_database("live")
            if documents:
                client["live"]["goods"].insert_many([dict(document) for document in documents])

    return Shop(node, MongoStore(node.url, "live"), fill)


@pytest.fixture(params=BOTH)
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    made = (redis_shop if request.param == "redis" else mongo_shop)(
        request.getfixturevalue(f"{request.param}_node")
    )
    made.fill([{"sku": "b", "stock": 2, "attributes": {"colour": "moss"}}, {"sku": "a", "stock": None}])
    yield made
    made.store.close()


def as_json(value: Any) -> Any:
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, (date, time_of_day, Decimal)):
        return str(value) if isinstance(value, Decimal) else value.isoformat()
    return None if isinstance(value, float) and math.isnan(value) else value


@given(st.lists(rows, min_size=1, max_size=5), st.lists(predicates, min_size=4, max_size=4))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_live_read_returns_exactly_what_the_plain_evaluation_does(
    shop: Shop, table: list[dict[str, Any]], asked: list[Predicate]
) -> None:
    columns = tuple(
        Column(one.name, one.type, one.items, path=f"$.at.{one.name}", precision=9, scale=2)
        for one in COLUMNS.values()
    )
    dataset = Dataset("goods", "record", (SKU, *columns), live=True)
    shop.fill([{"sku": str(n), "at": {k: as_json(v) for k, v in row.items()}} for n, row in enumerate(table)])
    for where in asked:
        found = [row["sku"] for row in shop.fetch(where, dataset)]
        assert found == [str(n) for n, row in enumerate(table) if evaluate(where, row) is True], where


def test_rows_come_in_the_order_asked_with_nulls_last(shop: Shop) -> None:
    assert shop.fetch(order=("-stock",)) == [
        {"sku": "b", "stock": 2, "colour": "moss"},
        {"sku": "a", "stock": None, "colour": None},
    ]
    assert [row["sku"] for row in shop.fetch(order=("stock",))] == ["b", "a"]
    assert [row["sku"] for row in shop.fetch()] == ["a", "b"]


def test_a_document_that_breaks_its_contract_is_named_or_set_aside(shop: Shop) -> None:
    shop.fill([{"sku": "a", "stock": "many"}, {"sku": "b", "stock": 1}])
    with pytest.raises(SourceFailed, match=r"goods, .*'stock': 'many' is not a value of type integer"):
        shop.fetch()
    lenient = Dataset("goods", "record", GOODS.columns, live=True, on_error="set_aside")
    assert [row["sku"] for row in shop.fetch(dataset=lenient)] == ["b"]


def test_a_lookup_that_would_read_a_whole_collection_says_so(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_redis, "MOST_DOCUMENTS", 3)
    monkeypatch.setattr(records_mongodb, "MOST_DOCUMENTS", 3)
    shop.fill([{"sku": str(number)} for number in range(5)])
    with pytest.raises(InvalidArgument, match="documents of 'goods'") as caught:
        shop.fetch(Compare("stock", "gt", 1))
    assert "sku" in caught.value.hint
    assert [row["sku"] for row in shop.fetch(In("sku", ("4", "9")))] == ["4"]


def test_a_server_that_hangs_ends_at_the_deadline(shop: Shop) -> None:
    shop.fetch(seconds=0.5)
    with shop.node.frozen():
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=f"127.0.0.1:{shop.node.port}"):
            shop.fetch(seconds=0.5)
        assert time.monotonic() - started < 2.0
    assert len(shop.fetch(seconds=5.0)) == 2


def test_many_calls_with_deadlines_of_their_own_share_their_connections(shop: Shop) -> None:
    shop.fetch()
    before = threading.active_count()
    for number in range(30):
        assert len(shop.fetch(seconds=4.9 - number * 0.01)) == 2
    assert threading.active_count() <= before + 3
    if isinstance(shop.node, RedisServer):
        with contextlib.closing(shop.node.client) as client:
            assert len(client.client_list()) <= 3


def test_a_cancelled_call_reads_no_further(shop: Shop) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with working_for(cancellation), pytest.raises(Cancelled):
        shop.fetch(Compare("stock", "gt", 1))


def test_mongodb_is_told_to_stop_what_a_cancelled_call_asked() -> None:
    cancellation = Cancellation()
    with mongodb_stub() as (server, url), contextlib.closing(MongoStore(url, "live")) as store:

        def ask() -> None:
            with working_for(cancellation):
                LiveDocuments(store, GOODS).fetch(GOODS.columns, TRUE, (), 10, 20.0)

        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(ask)
            assert server.asked.wait(20)
            started = time.monotonic()
            cancellation.cancel()
            with pytest.raises(Cancelled, match="MongoDB"):
                asking.result(20)
        assert time.monotonic() - started < 5
        assert server.killed == [server.session]


def test_a_server_that_restarted_empty_is_read_again_without_a_hand(shop: Shop) -> None:
    assert len(shop.fetch()) == 2
    shop.node.stop()
    with pytest.raises(EngineUnavailable, match=f"127.0.0.1:{shop.node.port}"):
        shop.fetch(seconds=1.0)
    shop.node.start()
    assert shop.fetch() == []


def test_version_and_clock_and_counts_are_told(shop: Shop) -> None:
    version, clock = shop.store.facts()
    assert version[0].isdigit()
    assert clock is not None
    assert abs((clock - datetime.now(clock.tzinfo)).total_seconds()) < 5
    assert shop.store.count(GOODS) == 2


# -- Redis -------------------------------------------------------------------------------------------------


@given(st.lists(st.text(st.characters(exclude_characters="|", exclude_categories=["Cs"])), min_size=2, max_size=2))
def test_a_key_pattern_gives_back_the_values_that_it_was_filled_with(values: list[str]) -> None:
    pattern = KeyPattern("order|*|line|*")
    assert pattern.values(pattern.key(values)) == tuple(values)


def test_only_the_star_of_a_pattern_is_special() -> None:
    assert KeyPattern("a[1]?:*").match == r"a\[1\]\?:*"
    assert KeyPattern.of(GOODS).text == "goods:*"


@pytest.fixture
def redis_goods(redis_node: RedisServer) -> Iterator[Shop]:
    made = redis_shop(redis_node)
    made.fill([])
    yield made
    made.store.close()


@pytest.mark.redis
@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("LPUSH", "goods:x", "1"), "'goods:x' of 'goods' is a list"),
        (("SET", "goods:x", "{broken"), "'goods:x' is not valid JSON"),
        (("SET", "goods:x", b"\xff\xfe"), "'goods:x' is not valid JSON in UTF-8"),
        (("SET", "goods:x", "[1]"), "'goods:x' is JSON, but no object"),
        (("SET", "goods:x", '{"sku": "y"}'), "'goods:x' holds 'sku' 'y'"),
        (("HSET", "goods:x", "attributes", "{broken"), "'goods:x' is not valid JSON"),
        (("SET", b"goods:\xff", "{}"), "not UTF-8"),
    ],
)
def test_a_value_that_is_no_document_of_the_dataset_is_named(
    redis_goods: Shop, command: tuple[Any, ...], said: str
) -> None:
    with contextlib.closing(redis_goods.node.client) as client:  # pyright: ignore[reportAttributeAccessIssue]
        client.execute_command(*command)
    with pytest.raises(SourceFailed) as caught:
        list(redis_goods.store.documents(GOODS))
    assert said in caught.value.message


@pytest.mark.redis
def test_an_integer_key_is_written_in_its_redis_key_as_a_lookup_would_write_it(redis_goods: Shop) -> None:
    numbered = Dataset("goods", "record", (Column("sku", ColumnType.INTEGER, key_position=1), STOCK))
    redis_goods.fill([{"sku": 7, "stock": 1}])
    assert redis_goods.fetch(Compare("sku", "eq", 7), numbered) == [{"sku": 7, "stock": 1}]
    redis_goods.fill([{"sku": "007"}])
    with pytest.raises(SourceFailed, match="'goods:007'"):
        redis_goods.fetch(dataset=numbered)


@pytest.mark.redis
def test_a_pattern_must_have_a_star_for_each_key_column(redis_goods: Shop) -> None:
    with pytest.raises(InvalidArgument, match=r"'goods' has 0 times `\*`"):
        redis_goods.store.require(Dataset("goods", "record", GOODS.columns, path="goods"))


@pytest.mark.redis
@pytest.mark.usefixtures("redis_node")  # skipped by name where no Redis can run
def test_a_wrong_password_or_missing_right_is_named_and_the_password_never(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--requirepass", "open sesame") as node:
        url = f"redis://:wrong-secret@127.0.0.1:{node.port}/0"
        with pytest.raises(EngineUnavailable, match=f"127.0.0.1:{node.port}/0.* refuses") as caught:
            list(RedisStore(url).documents(GOODS))
        assert "wrong-secret" not in str(caught.value)
        admin = f"redis://:open%20sesame@127.0.0.1:{node.port}/0"
        with contextlib.closing(RedisStore(admin)._client(1.0)) as client:  # pyright: ignore[reportPrivateUsage]
            client.execute_command("ACL", "SETUSER", "reader", "on", ">pw", "~goods:*", "+ping")
        with pytest.raises(EngineUnavailable, match="refuses"):
            list(RedisStore(f"redis://reader:pw@127.0.0.1:{node.port}/0").documents(GOODS))


def test_a_url_that_cannot_be_read_is_named() -> None:
    with pytest.raises(InvalidArgument, match="cannot be read"):
        list(RedisStore("http://example.com").documents(GOODS))
    with pytest.raises(InvalidArgument, match="cannot be read"):
        list(MongoStore("mongodb://h:port/x", "x").documents(GOODS))


# -- MongoDB -----------------------------------------------------------------------------------------------


@pytest.mark.mongodb
def test_bson_types_arrive_as_the_contract_declares_them(mongodb_node: MongoServer) -> None:
    identity = ObjectId()
    columns = (
        Column("id", ColumnType.STRING, key_position=1, path="$._id"),
        Column("price", ColumnType.DECIMAL, path="$.price"),
        Column("at", ColumnType.TIMESTAMP, path="$.at"),
        Column("parts", ColumnType.ARRAY, items=ColumnType.OBJECT, path="$.parts"),
    )
    shop = mongo_shop(mongodb_node)
    document = {"price": Decimal128("1.50"), "at": datetime(2025, 3, 1, 12), "parts": [{"n": 2**40}]}
    shop.fill([{"_id": identity, **document, "blob": Binary(b"x")}])
    dataset = Dataset("goods", "record", columns)
    [row] = shop.fetch(Compare("id", "eq", str(identity)), dataset)
    assert (row["id"], row["price"], row["parts"]) == (str(identity), Decimal("1.50"), [{"n": 2**40}])
    assert row["at"].isoformat() == "2025-03-01T12:00:00+00:00"
    blob = Dataset("goods", "record", (*columns, Column("blob", ColumnType.STRING, path="$.blob")))
    with pytest.raises(SourceFailed, match=r"'blob' of the document .* holds a value of type"):
        shop.fetch(dataset=blob)
    shop.store.close()


def test_a_server_names_its_database_in_the_contract_or_the_url() -> None:
    def of(**options: Any) -> str:
        return MongoStore.of(Server("db", "mongodb", options=options), {"U": "mongodb://u:s@h:1/shop"}).name

    assert of(host="h", database="shop") == "MongoDB (h:27017/shop)"
    assert of(dsn="${U}") == "MongoDB (h:1/shop)"
    with pytest.raises(InvalidArgument, match="names no database"):
        of(host="h")
    with pytest.raises(InvalidArgument, match="names no host"):
        of(database="shop")


def test_what_a_url_shows_is_no_secret() -> None:
    assert place_of("redis://user:secret@h:6379/0?ssl_password=x") == "h:6379/0"


def test_keys_are_taken_from_equality_alone() -> None:
    both = And((Compare("a", "eq", 1), In("b", (2, 3))))
    assert keys_wanted(both, ("a", "b")) == [(1, 2), (1, 3)]
    assert keys_wanted(both, ("a", "c")) is None
    assert keys_wanted(Compare("a", "gt", 1), ("a",)) is None
    assert keys_wanted(TRUE, ()) is None
