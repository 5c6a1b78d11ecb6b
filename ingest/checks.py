"""The contract gate: what a contract promises, held against the tables that were built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from indexes.duck.connection import quoted
from indexes.duck.quality import number_of, require_one_select, rows_of
from indexes.duck.table_builder import TableBuilder
from ingest.check import SAMPLE_ROWS, Check, CheckResult
from ingest.column_checks import dataset_checks
from ingest.quality_checks import rule_check
from semantic_layer.errors import GateFailed, InvalidArgument
from semantic_layer.product import DataProduct, Dataset

NameRow = Callable[[str, int], tuple[str, int]]
"""What a user knows a dataset's row as, counted from 1: its file or table, and the row in it."""


def run_checks(builder: TableBuilder, product: DataProduct, name_row: NameRow) -> list[CheckResult]:
    """Every check of the contract, in its order. Types were held when the rows were added."""
    return [_run(builder, check, name_row) for dataset in product.datasets for check in _checks(product, dataset)]


def require(product: DataProduct, results: Iterable[CheckResult]) -> None:
    """Raise GateFailed that lists every failed check of severity error; warnings pass."""
    failed = [result for result in results if not result.passed and result.severity == "error"]
    if failed:
        listing = "\n".join(f"  {result}" for result in failed)
        places = f"{len(failed)} place{'s' if len(failed) > 1 else ''}"
        raise GateFailed(
            f"{product.name} breaks its contract in {places}:\n{listing}",
            hint="Mend the data or the contract; the live generation keeps serving.",
        )


def warnings_of(results: Iterable[CheckResult]) -> list[str]:
    """The failed checks of severity warning, in words."""
    return [str(result) for result in results if not result.passed and result.severity == "warning"]


def _checks(product: DataProduct, dataset: Dataset) -> Sequence[Check]:
    return [*dataset_checks(product, dataset), *(rule_check(dataset, rule) for rule in dataset.quality)]


def _run(builder: TableBuilder, check: Check, name_row: NameRow) -> CheckResult:
    try:
        if check.own_sql:
            require_one_select(check.measured)
        measured = number_of(builder, check.measured, check.parameters)
    except InvalidArgument as error:
        return _result(check, False, f"it cannot be checked: {error.message}")
    if measured is None:
        return _result(check, False, "the query gives NULL")
    passed = check.holds(measured)
    rows = () if passed or not check.failing else _sample(builder, check, name_row)
    plain = int(measured) if measured == int(measured) else round(measured, 4)
    counted = f"{plain} row{'s' if plain != 1 else ''} {'do' if plain != 1 else 'does'} not"
    found = counted if check.failing and " must " not in check.promise else f"it is {plain}"
    return _result(check, passed, found, measured, rows)


def _sample(builder: TableBuilder, check: Check, name_row: NameRow) -> tuple[str, ...]:
    """The first rows at fault; never their values, which may be personal."""
    condition = f"WHERE {check.failing} ORDER BY rowid LIMIT {SAMPLE_ROWS}"
    sql = f"SELECT rowid + 1 FROM main.{quoted(check.dataset)} {condition}"
    places: dict[str, list[int]] = {}
    for (number,) in rows_of(builder, sql, check.parameters):
        origin, row = name_row(check.dataset, int(number))
        places.setdefault(origin, []).append(row)
    return tuple(_places(origin, rows) for origin, rows in places.items())


def _places(origin: str, rows: Sequence[int]) -> str:
    numbers = ", ".join(map(str, rows))
    return f"{origin} row{'s' if len(rows) > 1 else ''} {numbers}".strip()


def _result(
    check: Check, passed: bool, found: str, measured: float | None = None, rows: tuple[str, ...] = ()
) -> CheckResult:
    return CheckResult(
        name=check.name,
        dataset=check.dataset,
        column=check.column,
        severity=check.severity,
        passed=passed,
        promise=check.promise,
        found="it holds" if passed else found,
        measured=measured,
        rows=rows,
        line=check.line,
    )
