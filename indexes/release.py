"""Moving what is live without building: promote one generation, roll back to an earlier edition."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from indexes.generation import generation_folder, verify
from indexes.hold import Hold
from indexes.ledger import Edition, Ledger, retry_on_conflict
from indexes.servers import Servers
from indexes.standing import check_servers, oldest_standing
from semantic_layer.errors import CorruptGeneration, InvalidArgument, UnknownName, WellheadError


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
    folder = generation_folder(ledger.home, product, generation)

    def step() -> Edition:
        base = ledger.edition()
        if base.products.get(product) == generation:
            raise InvalidArgument(f"{product}/{generation} is live already (edition {base.number}).")
        if judge is not None:
            judge(base)
        return ledger.publish(base, {product: generation}, action="promote", by=by, note=note)

    with Hold(folder):  # nobody removes it before it is live
        verify(folder)
        return retry_on_conflict(step)


def rollback(
    ledger: Ledger,
    to: int | None = None,
    *,
    products: Sequence[str] = (),
    by: str,
    note: str = "",
    servers: Servers | None = None,
) -> Edition:
    """Make an earlier edition's generations live again, as a new edition; all products, or those named.

    Without `to`, the edition before the newest. Every generation is verified first, also what `servers` hold of it.
    Rights are not rolled back. Raises InvalidArgument where there is nothing to go back to, or what is is no longer
    there, naming the oldest edition that is; CorruptGeneration, EngineUnavailable.
    """
    engines = servers or Servers()

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
        with contextlib.ExitStack() as held:
            for product, generation in changes.items():
                if generation is not None:
                    _require_standing(ledger, target, product, generation, engines, held)
            return ledger.publish(base, changes, action=f"rollback to {target}", by=by, note=note)

    return retry_on_conflict(step)


def _require_standing(
    ledger: Ledger, target: int, product: str, generation: str, servers: Servers, held: contextlib.ExitStack
) -> None:
    """Raise where this generation cannot be live again; else nobody removes it until `held` ends."""
    folder = generation_folder(ledger.home, product, generation)
    try:
        held.enter_context(Hold(folder))
    except UnknownName:
        raise _gone(ledger, target, f"{product}/{generation} is no longer kept", servers) from None
    manifest = verify(folder)
    try:
        check_servers(folder, manifest, servers)
    except CorruptGeneration as lost:
        raise _gone(ledger, target, lost.message.removesuffix("."), servers) from lost


def _gone(ledger: Ledger, target: int, why: str, servers: Servers) -> InvalidArgument:
    try:
        oldest = oldest_standing(ledger, servers)
    except WellheadError:
        oldest = None
    hint = (
        f"The oldest edition that still stands is {oldest.number}." if oldest else "`wellhead doctor` looks at it."
    )
    return InvalidArgument(f"edition {target} cannot be gone back to: {why}.", hint=hint)


def _changes(live: Edition, target: Edition, products: Sequence[str]) -> Mapping[str, str | None]:
    known = {*live.products, *target.products}
    unknown = [name for name in products if name not in known]
    if unknown:
        raise InvalidArgument(
            f"neither edition holds a product {unknown[0]!r}.", hint="`wellhead history` lists what each holds."
        )
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
