"""What the stages that talk to a server work with."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.engine.inventory import InventoryStore
from reconciler.kinds.base import Kind, Session
from reconciler.model.keys import Key
from reconciler.model.rules import KindRules
from reconciler.runtime.clock import Clock


@dataclass(frozen=True)
class Access:
    """The way to one server.

    Attributes:
        session: this reconciliation's view of it.
        kinds: the resource kinds by the first word of their keys, in the order of listing.
        store: the inventory.
        clock: for waiting.
    """

    session: Session
    kinds: Mapping[str, Kind]
    store: InventoryStore
    clock: Clock

    @classmethod
    def of(
        cls, session: Session, kinds: Iterable[Kind], store: InventoryStore, clock: Clock
    ) -> "Access":
        """Make one from the tuple of kinds."""
        return cls(session, {kind.prefix: kind for kind in kinds}, store, clock)

    def rules(self) -> dict[str, KindRules]:
        """Return the field tables by key prefix, for this server."""
        return {prefix: kind.rules(self.session.facts) for prefix, kind in self.kinds.items()}

    def kind(self, key: Key) -> Kind:
        """Return the kind of a key.

        Raises:
            KeyError: this version knows no such kind.
        """
        return self.kinds[key.kind]
