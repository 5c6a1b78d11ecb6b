"""A call whose caller has gone stops in whichever engine it is, and stops nothing else."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from psycopg import connect

from indexes.cancellation import Cancellation, current_cancellation, working_for
from indexes.postgres.connection import Pool
from semantic_layer.errors import Cancelled

PATIENCE_SECONDS = 20.0


def test_what_is_cancelled_before_it_begins_never_begins() -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Cancelled), cancellation.over(lambda: None):
        pytest.fail("it began")


def test_an_engine_is_stopped_while_it_works_and_never_afterwards() -> None:
    cancellation, stopped = Cancellation(), list[str]()
    with cancellation.over(lambda: stopped.append("first")):
        assert cancellation.at_work
    cancellation.cancel()
    assert stopped == []
    assert not cancellation.at_work


def test_work_for_nobody_in_particular_is_cancelled_by_nobody() -> None:
    one, other = Cancellation(), Cancellation()
    with working_for(one):
        with working_for(other):
            assert current_cancellation() is other
        assert current_cancellation() is one
    assert current_cancellation() not in (one, other)


@pytest.mark.postgres
def test_a_statement_of_a_caller_who_has_gone_ends_in_postgres_too(postgres_dsn: str) -> None:
    pool, cancellation, ended = Pool(postgres_dsn, size=1), Cancellation(), list[str]()

    def work() -> None:
        with working_for(cancellation):
            try:
                pool.run(lambda held: held.execute("SELECT pg_sleep(60)"), 120)
            except Exception as error:
                ended.append(type(error).__name__)

    thread = threading.Thread(target=work)
    thread.start()
    with connect(postgres_dsn, autocommit=True) as watcher:
        running: Any = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(60)' AND state = %s"
        for _ in range(500):
            if watcher.execute(running, ("active",)).fetchone() == (1,):
                break
            thread.join(0.02)
        cancellation.cancel()
        thread.join(PATIENCE_SECONDS)
        assert ended == ["QueryCanceled"]
        assert watcher.execute(running, ("active",)).fetchone() == (0,)
    assert pool.run(lambda held: held.execute("SELECT 1").fetchone(), 5) == (1,)
    pool.close()
