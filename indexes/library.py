"""The live generations, opened once: what every read verb reads from, one whole edition at a time."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from indexes.engines import open_tables, open_text, open_token_vectors, open_vectors
from indexes.fusion import DENSE_WEIGHT
from indexes.generation import DESCRIPTORS, FUSION, Manifest, generation_folder, verify
from indexes.hold import Hold
from indexes.keys import Keyring, keyring
from indexes.ledger import EMPTY, Edition, Ledger, Tombstones
from indexes.ports import Embedder, TableReader, TextReader, VectorReader
from indexes.rerank import TokenVectorReader
from indexes.servers import Servers
from semantic_layer.catalog import Catalog, CatalogEntry
from semantic_layer.certification import certified
from semantic_layer.decisions import Decisions, Withheld
from semantic_layer.descriptors import read_descriptors
from semantic_layer.errors import WellheadError
from semantic_layer.metric import SemanticModel
from semantic_layer.policy import Action, Grant, Policy
from semantic_layer.policy_file import policy_from_json
from semantic_layer.principal import Principal
from semantic_layer.product import DataProduct

RETRY_FAILED_EDITION_SECONDS = 15.0

OpenEmbedder = Callable[[Mapping[str, str]], Embedder]
"""Opens the model that a manifest's recipe identifies; raises EngineUnavailable where it cannot be had."""


@dataclass(frozen=True)
class LiveGeneration:
    """One sealed generation, verified and opened. The search engines are None where it holds no chunks.

    `hold` keeps its folder from being removed until it is closed; a candidate in its stage needs none.
    """

    id: str
    folder: Path
    manifest: Manifest
    product: DataProduct
    semantics: SemanticModel | None
    tables: TableReader
    vectors: VectorReader | None = None
    text: TextReader | None = None
    tokens: TokenVectorReader | None = None
    embedder: Embedder | None = None
    hold: Hold | None = None

    @property
    def dense_weight(self) -> float:
        """What vectors count for beside words in this product: chosen on its own questions, or the default."""
        return float(self.manifest.engines.get(FUSION, {}).get("dense_weight", DENSE_WEIGHT))

    def close(self) -> None:
        """Release files and memory maps."""
        for reader in (self.tables, self.vectors, self.text, self.hold):
            if reader is not None:
                reader.close()


@dataclass(frozen=True)
class Snapshot:
    """What one call reads: a whole edition, decided by the newest policies and tombstones."""

    edition: Edition
    generations: Mapping[str, LiveGeneration]
    catalog: Catalog
    policies: Mapping[str, Policy]
    policy_revision: int
    tombstones: Tombstones
    decisions: Decisions = field(default_factory=Decisions)

    def grant(self, principal: Principal, product: str, action: Action) -> Grant:
        """The decision for this caller and action; `product` must be in the edition."""
        return self.grants(principal, action)[product]

    def grants(self, principal: Principal, action: Action) -> Mapping[str, Grant]:
        """One decision for each product of the edition."""
        return self.decisions.grants(principal, action, self.generations, self.policies, self.policy_revision)

    def withheld(self, grant: Grant) -> Withheld:
        """What a grant of this snapshot hides of its product."""
        return self.decisions.withheld(grant, self.generations, self.policies, self.policy_revision)


@dataclass
class _Shelf:
    """The opened generations of one edition and how many calls are reading them."""

    edition: Edition
    generations: dict[str, LiveGeneration]
    catalog: Catalog
    pins: int = 0
    certified: tuple[int, Mapping[str, LiveGeneration], Catalog] | None = None


class Library:
    """Opens what the ledger says is live and hands it out whole. Thread-safe."""

    def __init__(
        self,
        home: Path,
        open_embedder: OpenEmbedder,
        mask_keys: Keyring | None = None,
        ledger: Ledger | None = None,
        servers: Servers | None = None,
    ) -> None:
        """`mask_keys` are the secrets of hash masks; they and the ledger are by default those in the home's files.

        `servers` are those that engines need; without them only what lies in files can be opened.
        """
        self.servers = servers or Servers()
        self.home = home
        self.ledger = ledger or Ledger(home)
        self.failure: WellheadError | None = None
        """Why the newest edition is not the one served; None when it is."""
        self._mask_keys = mask_keys or keyring(home, "masks")
        self._open_embedder = open_embedder
        self._embedders: dict[str, Embedder] = {}
        self._lock = threading.RLock()
        self._refreshing = threading.Lock()
        """Held while an edition is opened, which may take seconds: calls go on reading the one before."""
        self._shelf = _Shelf(EMPTY, {}, Catalog({}))
        self._retired: list[_Shelf] = []
        self._failed: tuple[int, float] = (0, 0.0)
        self._policies: tuple[int, Mapping[str, Policy]] = (0, {})
        self._decisions = Decisions()

    def refresh(self) -> bool:
        """Open, verify and swap to the newest edition, if there is a new one; True when it swapped.

        An edition that fails leaves the old one serving and `failure` says why; it is tried again after
        RETRY_FAILED_EDITION_SECONDS, since a re-ingest may mend it without a new edition. So does a ledger that
        does not answer, until it does.
        """
        with self._refreshing:
            try:
                newest = self.ledger.latest_edition_number()
            except WellheadError as failure:
                self.failure = failure
                return False
            if newest == self._shelf.edition.number:
                self.failure = None
                return False
            number, when = self._failed
            if number == newest and time.monotonic() - when < RETRY_FAILED_EDITION_SECONDS:
                return False
            try:
                shelf = self._open_shelf(self.ledger.edition(newest))
            except WellheadError as failure:
                self.failure, self._failed = failure, (newest, time.monotonic())
                return False
            with self._lock:
                self._retired.append(self._shelf)
                self._shelf, self.failure = shelf, None
                self._close_unused()
            return True

    @property
    def opened(self) -> bool:
        """Whether an edition is open, so that `pin` has to open none."""
        return self._shelf.edition.number > 0

    @contextlib.contextmanager
    def pin(self) -> Generator[Snapshot]:
        """Everything one call reads. The generations stay open until the block ends, also over a swap.

        Raises the failure where no edition could be opened at all.
        """
        if not self.opened:
            self.refresh()
        with self._lock:
            if not self.opened and self.failure is not None:
                raise self.failure
            shelf = self._shelf
            shelf.pins += 1
        try:
            yield self._snapshot(shelf)
        finally:
            with self._lock:
                shelf.pins -= 1
                self._close_unused()

    @contextlib.contextmanager
    def at(self, number: int) -> Generator[Snapshot]:
        """What a call reads where that edition is asked for again, under today's policies and tombstones.

        Raises UnknownName where the edition or one of its generations is gone, CorruptGeneration where it is damaged.
        """
        with self._lock:
            shelf = self._open_shelf(self.ledger.edition(number))
            shelf.pins += 1
            self._retired.append(shelf)
        try:
            yield self._snapshot(shelf)
        finally:
            with self._lock:
                shelf.pins -= 1
                self._close_unused()

    @contextlib.contextmanager
    def candidate(
        self, base: Edition, folder: Path, manifest: Manifest, policies: Mapping[str, Policy]
    ) -> Generator[Snapshot]:
        """The edition that would follow `base` with the staged generation in it, for gates to judge.

        `policies` replace the ledger's for the products they name.
        """
        opened: list[LiveGeneration] = []
        try:
            generations: dict[str, LiveGeneration] = {}
            for product, generation in {**base.products, manifest.product: manifest.generation}.items():
                staged = product == manifest.product
                one = self.open_generation(folder, manifest) if staged else self._open_sealed(product, generation)
                generations[product] = one
                opened.append(one)
            edition = Edition(base.number + 1, {p: g.id for p, g in generations.items()}, "candidate", "", "")
            snapshot = self._snapshot(_Shelf(edition, generations, _catalog(generations)))
            judged = {product: self._keyed(policy) for product, policy in policies.items()}
            yield replace(snapshot, policies={**snapshot.policies, **judged})
        finally:
            for generation in opened:
                generation.close()

    def open_generation(self, folder: Path, manifest: Manifest) -> LiveGeneration:
        """Open one generation's descriptors and engines. The caller has verified it."""
        product, semantics = read_descriptors(folder / DESCRIPTORS, manifest.product)
        tables = open_tables(folder, product)
        searchable = manifest.counts.get("chunks", 0) > 0
        return LiveGeneration(
            id=manifest.generation,
            folder=folder,
            manifest=manifest,
            product=product,
            semantics=semantics,
            tables=tables,
            vectors=open_vectors(folder, manifest, product, self.servers) if searchable else None,
            text=open_text(folder, manifest, product, self.servers) if searchable else None,
            tokens=open_token_vectors(folder, manifest) if searchable else None,
            embedder=self._embedder(manifest) if searchable else None,
        )

    def close(self) -> None:
        """Close everything; for the end of a process."""
        with self._lock:
            for shelf in (self._shelf, *self._retired):
                for generation in shelf.generations.values():
                    generation.close()
            self._shelf, self._retired = _Shelf(EMPTY, {}, Catalog({})), []

    def _snapshot(self, shelf: _Shelf) -> Snapshot:
        revision, policies = self._newest_policies()
        generations, catalog = self._certified(shelf)
        tombstones = self.ledger.tombstones()
        return Snapshot(shelf.edition, generations, catalog, policies, revision, tombstones, self._decisions)

    def _certified(self, shelf: _Shelf) -> tuple[Mapping[str, LiveGeneration], Catalog]:
        """The shelf's generations with the state that each metric has by the newest certificates."""
        certificates = self.ledger.certificates()
        with self._lock:
            if shelf.certified is None or shelf.certified[0] != certificates.number:
                models = {
                    name: one.semantics for name, one in shelf.generations.items() if one.semantics is not None
                }
                states = {name: certified(model, models, certificates) for name, model in models.items()}
                generations = {
                    name: replace(one, semantics=states[name]) if name in states else one
                    for name, one in shelf.generations.items()
                }
                shelf.certified = (certificates.number, generations, _catalog(generations))
            return shelf.certified[1], shelf.certified[2]

    def _newest_policies(self) -> tuple[int, Mapping[str, Policy]]:
        revision = self.ledger.policies()
        with self._lock:
            if revision.number != self._policies[0]:
                parsed = {
                    product: self._keyed(policy_from_json(product, document))
                    for product, document in revision.documents.items()
                }
                self._policies = (revision.number, parsed)
            return self._policies

    def _keyed(self, policy: Policy) -> Policy:
        """The policy with the workspace's key, which is made when the first hash mask asks for it."""
        return policy.keyed(self._mask_keys.newest().material) if policy.hashes else policy

    def _open_shelf(self, edition: Edition) -> _Shelf:
        generations: dict[str, LiveGeneration] = {}
        opened: list[LiveGeneration] = []
        try:
            for product, generation in sorted(edition.products.items()):
                standing = self._shelf.generations.get(product)
                if standing is not None and standing.id == generation:
                    generations[product] = standing
                    continue
                generations[product] = self._open_sealed(product, generation)
                opened.append(generations[product])
            return _Shelf(edition, generations, _catalog(generations))
        except BaseException:
            for generation in opened:
                generation.close()
            raise

    def _open_sealed(self, product: str, generation: str) -> LiveGeneration:
        """A sealed generation, held, verified and opened."""
        folder = generation_folder(self.home, product, generation)
        hold = Hold(folder)
        try:
            return replace(self.open_generation(folder, verify(folder)), hold=hold)
        except BaseException:
            hold.close()
            raise

    def _embedder(self, manifest: Manifest) -> Embedder:
        identity: Mapping[str, str] = manifest.recipe["embedder"]
        key = repr(sorted(identity.items()))
        with self._lock:
            if key not in self._embedders:
                self._embedders[key] = self._open_embedder(identity)
            return self._embedders[key]

    def _close_unused(self) -> None:
        """Close generations of retired editions that no call reads and no newer edition shares."""
        busy = [shelf for shelf in (self._shelf, *self._retired) if shelf.pins or shelf is self._shelf]
        kept = {id(generation) for shelf in busy for generation in shelf.generations.values()}
        idle = [shelf for shelf in self._retired if not shelf.pins]
        self._retired = [shelf for shelf in self._retired if shelf.pins]
        for generation in {id(g): g for shelf in idle for g in shelf.generations.values()}.values():
            if id(generation) not in kept:
                generation.close()


def _catalog(generations: Mapping[str, LiveGeneration]) -> Catalog:
    return Catalog({name: CatalogEntry(one.product, one.semantics, one.id) for name, one in generations.items()})
