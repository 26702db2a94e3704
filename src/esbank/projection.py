"""Views that follow the log: projectors, and the runner that keeps their place.

A view and its checkpoint change in one transaction of the view store, and the checkpoint is compared in that same
transaction before anything is changed. So each event takes effect exactly once, across crashes and restarts, and
however many runners there are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Final, TypeAlias, TypeVar, overload
from uuid import UUID

from esbank._dispatch import Marker, methods_by_class
from esbank._views import CREATE_CHECKPOINTS, Checkpoint, View, check_identifier
from esbank.codec import EventCodec, EventRegistry
from esbank.errors import CheckpointError, DefinitionError, ProjectionError, StorageError
from esbank.events import EventEnvelope
from esbank.store import EventStore, StoredEvent, StreamId, Transaction, ViewStore

__all__ = ["ProjectionRunner", "Projector", "projects"]

E = TypeVar("E")
E2 = TypeVar("E2")
E3 = TypeVar("E3")
P = TypeVar("P", bound="Projector")

_PROJECTS: Final = Marker("projects")
_PAGE: Final = 1000

_Method: TypeAlias = Callable[[P, EventEnvelope[E], Transaction], None]
_Mark: TypeAlias = Callable[[_Method[P, E]], _Method[P, E]]


# The overloads give several classes their union: mypy would take the class that they have in common.
@overload
def projects(event: type[E], /) -> _Mark[P, E]: ...
@overload
def projects(event: type[E], other: type[E2], /) -> _Mark[P, E | E2]: ...
@overload
def projects(event: type[E], other: type[E2], third: type[E3], /) -> _Mark[P, E | E2 | E3]: ...
@overload
def projects(*events: type[E]) -> _Mark[P, E]: ...
def projects(*events: type[Any]) -> _Mark[Any, Any]:
    """Mark the method of a projector that takes events of these classes.

    It is given the envelope and the transaction in which to change the projector's tables.
    """
    return _PROJECTS(*events)


class Projector:
    """Turns events into a view: tables of SQL that people query.

    A subclass declares its tables, by name, with their columns as SQL, and marks the methods that fill them. In their
    SQL ``{name}`` stands for the table ``name``, so that a rebuild can fill another one meanwhile::

        class Balances(Projector):
            tables = {"balances": "(account TEXT PRIMARY KEY, balance TEXT NOT NULL)"}

            @projects(Deposited, Withdrawn)
            def _moved(self, envelope: EventEnvelope[Deposited | Withdrawn], tx: Transaction) -> None:
                tx.execute(
                    "REPLACE INTO {balances} VALUES (:account, :balance)",
                    {"account": envelope.stream.key, "balance": str(envelope.event.balance_after)},
                )

    `name` is what its checkpoint is kept under, by default the name of the class. `categories` are the categories of
    the streams it follows, by default all. `indexes` maps the name of an index to what it is on, as in
    ``{"balances_by_balance": "{balances} (balance)"}``. What a method does besides, outside its transaction, can happen
    more than once.
    """

    name: ClassVar[str]
    categories: ClassVar[Collection[str] | None] = None
    tables: ClassVar[Mapping[str, str]] = {}
    indexes: ClassVar[Mapping[str, str]] = {}
    _methods: ClassVar[Mapping[type, Callable[..., None]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = cls.__name__
        if isinstance(cls.categories, str) or not all(isinstance(one, str) for one in cls.categories or ()):
            raise DefinitionError(
                f'{cls.__name__}: categories are texts in a tuple, as in ("BankAccount",), not {cls.categories!r}'
            )
        for name in (*cls.tables, *cls.indexes):
            check_identifier(cls.__name__, name)
        cls._methods = methods_by_class(cls, _PROJECTS)

    @classmethod
    def event_classes(cls) -> tuple[type, ...]:
        """List the classes of the events that the projector takes."""
        return tuple(cls._methods)

    def project(self, envelope: EventEnvelope[Any], tx: Transaction) -> None:
        """Take one event. ``Any``, because it is of any of the classes that the methods are marked with."""
        self._methods[type(envelope.event)](self, envelope, tx)


class ProjectionRunner:
    """Keeps the views of some projectors up to date with a store.

    `views` is where the tables are, by default the event store's own database; `registry` names the events, by default
    those that the projectors take. Raises ``DefinitionError`` when two projectors share a name or a table, or when
    there is no place for views.
    """

    def __init__(
        self,
        store: EventStore,
        projectors: Iterable[Projector],
        *,
        views: ViewStore | None = None,
        registry: EventRegistry | None = None,
    ) -> None:
        if views is None:
            if not isinstance(store, ViewStore):
                raise DefinitionError(f"{store!r} keeps no views; name a store that does: ProjectionRunner(…, views=…)")
            views = store
        self._store = store
        self._views = views
        self._projectors = tuple(projectors)
        _check_projectors(self._projectors)
        codec = EventCodec(registry or EventRegistry(*(type(projector) for projector in self._projectors)))
        for cls in (cls for projector in self._projectors for cls in projector.event_classes()):
            if codec.registry.by_class(cls) is None:
                raise DefinitionError(f"the registry lacks {cls.__name__}, which a projector takes; add it")
        self._followers = {projector.name: _Follower(store, views, codec, projector) for projector in self._projectors}

    @property
    def views(self) -> ViewStore:
        """Where the tables are."""
        return self._views

    def catch_up(self, *names: str) -> None:
        """Bring the views of the projectors with these `names`, or all of them, to where the log ends now, and return.

        May be called by several threads and processes at once. Raises ``ProjectionError`` when a projector fails; it
        stays before that event, and the others go on to the end all the same. Raises ``CheckpointError`` when a view
        does not belong to this store.
        """
        failures: list[ProjectionError | CheckpointError] = []
        for follower in self._named(names):
            try:
                follower.catch_up()
            except (ProjectionError, CheckpointError) as error:
                failures.append(error)
        if failures:
            first, *others = failures
            for other in others:
                first.add_note(f"Another projector failed as well: {other}")
            raise first

    def rebuild(self, *names: str) -> None:
        """Make the views of the projectors with these `names` anew, or of all of them, from the first event.

        Readers keep the old view, whole, until the new one takes its place in one step. Raises ``ProjectionError`` when
        a projector fails; the old view then stays.
        """
        for follower in self._named(names):
            follower.rebuild()

    def _named(self, names: Sequence[str]) -> list[_Follower]:
        for name in names:
            if name not in self._followers:
                raise ValueError(f"no projector is named {name!r}; there are {', '.join(self._followers)}")
        return [self._followers[name] for name in names or self._followers]


class _Follower:
    """One projector on its way through the log."""

    def __init__(self, store: EventStore, views: ViewStore, codec: EventCodec, projector: Projector) -> None:
        self._store = store
        self._views = views
        self._codec = codec
        self._projector = projector
        self._classes = frozenset(projector.event_classes())
        self._types = frozenset(codec.registry.names_of(*self._classes))
        self._view = View(projector.name, projector.tables, projector.indexes)
        self._has_begun = False

    def catch_up(self) -> None:
        self._follow(self._view, self._begin(self._view))

    def rebuild(self) -> None:
        # Begun first, so that nothing but a table of this projector is ever dropped.
        with self._views.view_transaction() as tx:
            self._open(tx, self._view)
        shadow = self._view.shadow()
        with self._views.view_transaction() as tx:
            shadow.drop(tx)
            checkpoint = self._open(tx, shadow)
        try:
            checkpoint = self._follow(shadow, checkpoint)
        except ProjectionError:
            with self._views.view_transaction() as tx:
                shadow.drop(tx)
            raise
        with self._views.view_transaction() as tx:
            if shadow.checkpoint(tx.execute) != checkpoint:
                raise CheckpointError(self._projector.name, "another rebuild has begun meanwhile; let that one finish")
            head = self._store.head()
            while page := self._page(checkpoint, head):
                checkpoint = self._handle(tx, shadow, page)
            with self._making_tables():
                self._view.take_over(tx, shadow, checkpoint)

    def _begin(self, view: View) -> Checkpoint:
        """Return the view's checkpoint, after making its tables where there are none and making sure that it fits."""
        checkpoint = view.checkpoint(self._views.query) if self._has_begun else None
        if checkpoint is None:
            with self._views.view_transaction() as tx:
                checkpoint = self._open(tx, view)
            self._has_begun = True
        self._check(checkpoint)
        return checkpoint

    def _open(self, tx: Transaction, view: View) -> Checkpoint:
        tx.execute(CREATE_CHECKPOINTS)
        checkpoint = view.checkpoint(tx.execute)
        if checkpoint is None:
            checkpoint = Checkpoint(self._store.identity)
            with self._making_tables():
                view.create(tx, checkpoint)
        return checkpoint

    @contextmanager
    def _making_tables(self) -> Generator[None]:
        try:
            yield
        except StorageError as error:
            raise CheckpointError(self._projector.name, f"its tables cannot be made: {error.problem}") from error

    def _check(self, checkpoint: Checkpoint) -> None:
        """Notice a store that was swapped, or restored from a backup that is older than the view."""
        if checkpoint.store != self._store.identity:
            problem = "its view was made from another store; open the right one, or rebuild the view from this one"
            raise CheckpointError(self._projector.name, problem)
        if checkpoint.position is None or checkpoint.stream is None or checkpoint.event_id is None:
            return
        last = self._store.find(StreamId.parse(checkpoint.stream), UUID(checkpoint.event_id))
        if last is None or last.position != checkpoint.position:
            problem = (
                f"the store does not hold the event at position {checkpoint.position}, the last that the view saw; "
                "if the store was restored from a backup, rebuild the view"
            )
            raise CheckpointError(self._projector.name, problem)

    def _follow(self, view: View, checkpoint: Checkpoint) -> Checkpoint:
        head = self._store.head()
        while page := self._page(checkpoint, head):
            try:
                checkpoint = self._advance(view, checkpoint, page)
            except ProjectionError as error:
                done = [event for event in page if event.position < error.position]
                if done:
                    self._advance(view, checkpoint, done)
                raise
        return checkpoint

    def _page(self, checkpoint: Checkpoint, head: int | None) -> list[StoredEvent]:
        """Read on from a checkpoint, but not beyond `head`: others may append faster than this can follow."""
        if head is None or (checkpoint.position is not None and checkpoint.position >= head):
            return []
        return list(self._store.read_all(after=checkpoint.position, limit=_PAGE))

    def _advance(self, view: View, checkpoint: Checkpoint, page: Sequence[StoredEvent]) -> Checkpoint:
        """Handle a page in one transaction, unless another runner was here first; return the checkpoint there is."""
        with self._views.view_transaction() as tx:
            current = view.checkpoint(tx.execute)
            if current is None:
                raise CheckpointError(self._projector.name, "its view was taken away meanwhile; try again")
            if current != checkpoint:
                return current
            return self._handle(tx, view, page)

    def _takes(self, stored: StoredEvent) -> bool:
        categories = self._projector.categories
        if stored.type not in self._types or (categories is not None and stored.stream.category not in categories):
            return False
        # An old name can have led to several classes. What nothing can read may be of any: then reading it says why.
        binding = self._codec.registry.by_type(stored.type, stored.schema_version)
        return binding is None or binding.cls in self._classes

    def _handle(self, tx: Transaction, view: View, page: Sequence[StoredEvent]) -> Checkpoint:
        bound = view.bind(tx)
        for stored in page:
            if self._takes(stored):
                try:
                    self._projector.project(self._codec.envelope(stored), bound)
                except Exception as error:
                    raise ProjectionError(
                        self._projector.name, stored.stream, stored.version, stored.position, stored.type
                    ) from error
        last = page[-1]
        checkpoint = Checkpoint(self._store.identity, last.position, str(last.stream), str(last.event_id))
        view.save(tx, checkpoint)
        return checkpoint


def _check_projectors(projectors: Sequence[Projector]) -> None:
    taken: dict[str, str] = {}
    for projector in projectors:
        if not isinstance(projector, Projector):
            raise TypeError(f"a runner takes projectors, objects of their classes, not {projector!r}")
        for name in {projector.name, *projector.tables}:
            if name in taken:
                raise DefinitionError(
                    f"{type(projector).__name__} and {taken[name]} share the name {name!r}; give each its own"
                )
        taken |= dict.fromkeys({projector.name, *projector.tables}, type(projector).__name__)
    for projector in projectors:
        if not projector.event_classes():
            raise DefinitionError(f"{projector.name} takes no events: mark a method of it with @projects(SomeEvent)")
