"""Moving what is live without building: promote one generation, roll back to an earlier edition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from indexes.generation import generation_folder, verify
from indexes.ledger import Edition, Ledger, retry_on_conflict
from semantic_layer.errors import InvalidArgument


def promote(
    ledger: Ledger,
    product: str,
    generation: str,
    *,
    by: str,
    note: str = "",
    judge: Callable[[Edition], None] | None = None,
) -> Edition:
    """Make a sealed generation live. It is verified first; the policies stay the newest.

    `judge` raises where the generation must not follow that edition; it is asked again where the ledger moved.
    Raises UnknownName where it was never sealed, CorruptGeneration where it is damaged.
    """
    verify(generation_folder(ledger.home, product, generation))

    def step() -> Edition:
        base = ledger.edition()
        if base.products.get(product) == generation:
            raise InvalidArgument(f"{product}/{generation} is live already (edition {base.number}).")
        if judge is not None:
            judge(base)
        return ledger.publish(base, {product: generation}, action="promote", by=by, note=note)

    return retry_on_conflict(step)


def rollback(
    ledger: Ledger, to: int | None = None, *, products: Sequence[str] = (), by: str, note: str = ""
) -> Edition:
    """Make an earlier edition's generations live again, as a new edition; all products, or those named.

    Without `to`, the edition before the newest. Every generation is verified first. Rights are not rolled back.
    Raises InvalidArgument where there is nothing to go back to.
    """

    def step() -> Edition:
        base = ledger.edition()
        target = base.number - 1 if to is None else to
        if not 0 < target < base.number:
            raise InvalidArgument(
                f"there is no edition {target} before the live one ({base.number}).",
                hint="`wellhead history` lists the editions.",
            )
        changes = _changes(base, ledger.edition(target), products)
        if not changes:
            raise InvalidArgument(f"edition {target} has the same generations as the live one.")
        for product, generation in changes.items():
            if generation is not None:
                verify(generation_folder(ledger.home, product, generation))
        return ledger.publish(base, changes, action=f"rollback to {target}", by=by, note=note)

    return retry_on_conflict(step)


def _changes(live: Edition, target: Edition, products: Sequence[str]) -> Mapping[str, str | None]:
    known = {*live.products, *target.products}
    unknown = [name for name in products if name not in known]
    if unknown:
        raise InvalidArgument(f"no edition holds a product {unknown[0]!r}.")
    return {
        name: target.products.get(name)
        for name in (products or sorted(known))
        if target.products.get(name) != live.products.get(name)
    }


def differences(ledger: Ledger, earlier: int, later: int) -> list[dict[str, str]]:
    """What changed between two editions, one row a product: `product`, `from`, `to` (empty where absent)."""
    before, after = ledger.edition(earlier).products, ledger.edition(later).products
    return [
        {"product": name, "from": before.get(name, ""), "to": after.get(name, "")}
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
