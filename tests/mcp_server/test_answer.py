"""What an answer says of itself: its digest and its size, whatever the data."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mcp_server.answer import Answer, Page, plain
from mcp_server.receipt import Receipt

values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just("\\u \ud800 é \n")),
    lambda one: st.one_of(st.lists(one, max_size=3), st.dictionaries(st.text(), one, max_size=3)),
    max_leaves=8,
)


@given(data=st.dictionaries(st.text(), values, max_size=4), returned=st.integers(0, 5))
def test_digest_and_size_are_those_of_the_data_as_json(data: dict[str, Any], returned: int) -> None:
    answer = Answer(data, Receipt("a-1"), page=Page(returned)).costing(1.0)
    canonical = json.dumps({"status": "ok", "data": plain(data), "returned": returned}, sort_keys=True)
    utf8 = json.dumps(plain(data), ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert answer.digest == hashlib.sha256(canonical.encode()).hexdigest()
    assert answer.receipt.cost.bytes == len(utf8)
    assert answer.costing(2.0).digest == answer.digest
