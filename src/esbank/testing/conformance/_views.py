"""The optional capability to keep views: tables that change in transactions and are read beside them."""
# ruff: noqa: S101  # these are tests: literal expectations are the point, and pytest rewrites assert

from __future__ import annotations

import threading
from typing import ClassVar

import pytest

from esbank.errors import StorageError, StoreClosed
from esbank.store import EventStore, Rows, ViewStore
from esbank.testing.conformance._given import ACCOUNT, in_threads, new_events

__all__ = ["Views"]

INSERT = "INSERT INTO balances (account, amount) VALUES (:account, :amount)"
SELECT = "SELECT account, amount FROM balances ORDER BY account"
UPDATE = "UPDATE balances SET amount = :amount WHERE account = :account"


class Stop(BaseException):
    """Something that is no ``Exception``, like an interrupt."""


class Views:
    """``ViewStore``."""

    has_views: ClassVar[bool] = True
    has_queries_during_transactions: ClassVar[bool] = True

    @pytest.fixture
    def views(self, store: EventStore) -> ViewStore:
        """Return the store as what keeps views, with a table in it."""
        if not self.has_views:
            pytest.skip("this store keeps no views")
        assert isinstance(store, ViewStore)
        with store.view_transaction() as tx:
            tx.execute("CREATE TABLE balances (account TEXT PRIMARY KEY, amount INTEGER)")
        return store

    def test_the_store_keeps_views_if_it_says_so(self, store: EventStore) -> None:
        assert isinstance(store, ViewStore) == self.has_views

    def test_a_transaction_commits_when_its_block_ends(self, views: ViewStore) -> None:
        with views.view_transaction() as tx:
            tx.execute(INSERT, {"account": "a", "amount": 1})
            tx.execute(INSERT, {"account": "b", "amount": 2})

        assert views.query(SELECT) == [("a", 1), ("b", 2)]

    @pytest.mark.parametrize("error", [RuntimeError, Stop])
    def test_a_transaction_is_rolled_back_when_its_block_raises(
        self, views: ViewStore, error: type[BaseException]
    ) -> None:
        def change() -> None:
            with views.view_transaction() as tx:
                tx.execute(INSERT, {"account": "a", "amount": 1})
                tx.execute("CREATE TABLE half_done (x INTEGER)")
                raise error

        with pytest.raises(error):
            change()

        assert views.query(SELECT) == []
        with views.view_transaction() as tx:
            tx.execute("CREATE TABLE half_done (x INTEGER)")

    def test_a_transaction_sees_what_it_has_done(self, views: ViewStore) -> None:
        with views.view_transaction() as tx:
            tx.execute(INSERT, {"account": "a", "amount": 1})

            assert tx.execute(SELECT) == [("a", 1)]

    def test_a_statement_without_rows_returns_none(self, views: ViewStore) -> None:
        with views.view_transaction() as tx:
            assert tx.execute(INSERT, {"account": "a", "amount": 1}) == []
            assert tx.execute("SELECT account FROM balances WHERE amount > :least", {"least": 5}) == []

    def test_parameters_are_named_and_values_are_never_sql(self, views: ViewStore) -> None:
        odd = ["o'Hara", '"; DROP TABLE balances; --', ":amount", "%s", "é😀", ""]
        with views.view_transaction() as tx:
            for amount, account in enumerate(odd):
                tx.execute(INSERT, {"amount": amount, "account": account})

            found = [tx.execute("SELECT amount FROM balances WHERE account = :a", {"a": account}) for account in odd]

        assert found == [[(amount,)] for amount in range(len(odd))]
        assert views.query("SELECT account FROM balances WHERE amount = :n OR amount = :n", {"n": 2}) == [(":amount",)]

    def test_a_colon_in_a_text_is_no_parameter(self, views: ViewStore) -> None:
        with views.view_transaction() as tx:
            tx.execute("INSERT INTO balances (account, amount) VALUES ('at 12:30 :x', :amount)", {"amount": 1})

        assert views.query("SELECT account FROM balances WHERE account <> ':y' AND amount = :n", {"n": 1}) == [
            ("at 12:30 :x",)
        ]

    def test_one_statement_is_executed_for_many_parameters(self, views: ViewStore) -> None:
        with views.view_transaction() as tx:
            tx.executemany(INSERT, ({"account": f"{n:04}", "amount": n} for n in range(2_000)))
            tx.executemany(INSERT, [])

        assert views.query("SELECT count(*), min(amount), max(amount) FROM balances") == [(2_000, 0, 1_999)]

    def test_null_and_large_numbers_are_kept(self, views: ViewStore) -> None:
        with views.view_transaction() as tx:
            tx.execute("CREATE TABLE numbers (id TEXT, large BIGINT, note TEXT)")
            tx.execute("INSERT INTO numbers VALUES (:id, :n, :note)", {"id": "a", "n": 2**62, "note": None})

        assert views.query("SELECT id, large, note FROM numbers") == [("a", 2**62, None)]

    @pytest.mark.parametrize("number", [0.1, -1e300, 5e-324])
    def test_floats_and_bytes_are_kept(self, views: ViewStore, number: float) -> None:
        raw = bytes(range(256))
        with views.view_transaction() as tx:
            blob = "BLOB" if tx.dialect == "sqlite" else "BYTEA"
            tx.execute(f"CREATE TABLE things (number DOUBLE PRECISION, raw {blob})")
            tx.execute("INSERT INTO things VALUES (:number, :raw)", {"number": number, "raw": raw})

            assert tx.execute("SELECT number, raw FROM things") == [(number, raw)]
        assert views.query("SELECT number, raw FROM things WHERE number = :n", {"n": number}) == [(number, raw)]

    def test_a_query_sees_only_what_is_committed(self, views: ViewStore) -> None:
        with views.view_transaction() as tx:
            tx.execute(INSERT, {"account": "a", "amount": 1})
        with views.view_transaction() as tx:
            tx.execute(UPDATE, {"account": "a", "amount": 2})
            tx.execute(INSERT, {"account": "b", "amount": 3})

            if self.has_queries_during_transactions:
                assert views.query(SELECT) == [("a", 1)]
            else:
                with pytest.raises(StorageError):
                    views.query(SELECT)

        assert views.query(SELECT) == [("a", 2), ("b", 3)]

    def test_a_query_in_another_thread_sees_only_what_is_committed(self, views: ViewStore) -> None:
        done = threading.Event()

        def transfer() -> None:
            try:
                for number in range(1, 30):
                    with views.view_transaction() as tx:
                        tx.execute(UPDATE, {"account": "a", "amount": number})
                        tx.execute(UPDATE, {"account": "b", "amount": -number})
            finally:
                done.set()

        def audit() -> None:
            while not done.is_set():
                assert views.query("SELECT sum(amount) FROM balances") == [(0,)]

        with views.view_transaction() as tx:
            tx.executemany(INSERT, [{"account": account, "amount": 0} for account in "ab"])

        assert in_threads([transfer, audit, audit]) == [None] * 3

    def test_a_query_waits_for_no_writer(self, views: ViewStore) -> None:
        if not self.has_queries_during_transactions:
            pytest.skip("queries of this store wait for an open transaction")
        with views.view_transaction() as tx:
            tx.execute(INSERT, {"account": "a", "amount": 1})

            assert in_threads([lambda: views.query(SELECT)]) == [[]]

    def test_a_query_changes_nothing(self, views: ViewStore) -> None:
        with views.view_transaction() as tx:
            tx.execute(INSERT, {"account": "a", "amount": 1})

        for sql in ("DELETE FROM balances", "DROP TABLE balances", "INSERT INTO balances VALUES ('b', 2)"):
            with pytest.raises((StorageError, ValueError)):
                views.query(sql)

        assert views.query(SELECT) == [("a", 1)]

    def test_a_query_begins_no_transaction(self, views: ViewStore) -> None:
        with pytest.raises((StorageError, ValueError)):
            views.query("BEGIN")

        views.query(SELECT)
        with views.view_transaction() as tx:
            tx.execute(INSERT, {"account": "a", "amount": 1})
        assert views.query(SELECT) == [("a", 1)]

    def test_wrong_sql_is_a_storage_error(self, views: ViewStore) -> None:
        with pytest.raises(StorageError, match="nowhere"):
            views.query("SELECT * FROM nowhere")
        with pytest.raises(StorageError, match="nowhere"), views.view_transaction() as tx:
            tx.execute("DELETE FROM nowhere")
        with pytest.raises(StorageError), views.view_transaction() as tx:
            tx.execute(INSERT, {"account": "a"})
        with pytest.raises(StorageError), views.view_transaction() as tx:
            tx.executemany(INSERT, [{"account": "a", "amount": 1}] * 2)

        assert views.query(SELECT) == []

    @pytest.mark.parametrize(
        "sql",
        [
            "COMMIT",
            "  commit;",
            "END",
            "ROLLBACK",
            "BEGIN",
            "SAVEPOINT a",
            "RELEASE a",
            "/* all done */ COMMIT",
            "-- all done\nCOMMIT",
            ";COMMIT",
            "/* one */ -- two\n /* three */\tROLLBACK",
        ],
    )
    def test_a_statement_that_ends_the_transaction_is_refused(self, views: ViewStore, sql: str) -> None:
        def change() -> None:
            with views.view_transaction() as tx:
                tx.execute(INSERT, {"account": "a", "amount": 1})
                with pytest.raises((ValueError, StorageError)):
                    tx.execute(sql)
                with pytest.raises((ValueError, StorageError)):
                    tx.executemany(sql, [{}])
                raise Stop

        with pytest.raises(Stop):
            change()

        assert views.query(SELECT) == []

    def test_a_second_transaction_in_the_same_thread_is_an_error(self, views: ViewStore) -> None:
        def nest() -> Rows:
            with views.view_transaction() as tx:
                tx.execute(INSERT, {"account": "a", "amount": 1})
                with pytest.raises(StorageError), views.view_transaction():
                    pass
                return tx.execute(SELECT)

        assert in_threads([nest]) == [[("a", 1)]]
        assert views.query(SELECT) == [("a", 1)]

    def test_a_transaction_that_has_ended_takes_no_more_statements(self, views: ViewStore) -> None:
        with views.view_transaction() as tx:
            pass

        with pytest.raises(StorageError):
            tx.execute(INSERT, {"account": "a", "amount": 1})
        with views.view_transaction(), pytest.raises(StorageError):
            tx.execute(INSERT, {"account": "a", "amount": 1})
        assert views.query(SELECT) == []

    def test_a_transaction_excludes_every_other_writer(self, views: ViewStore) -> None:
        def count_up() -> None:
            for _ in range(10):
                with views.view_transaction() as tx:
                    ((amount,),) = tx.execute("SELECT amount FROM balances WHERE account = :a", {"a": "a"})
                    tx.execute(UPDATE, {"account": "a", "amount": amount + 1})

        with views.view_transaction() as tx:
            tx.execute(INSERT, {"account": "a", "amount": 0})

        assert in_threads([count_up] * 5) == [None] * 5
        assert views.query(SELECT) == [("a", 50)]

    def test_views_are_kept_beside_the_events(self, views: ViewStore, store: EventStore) -> None:
        store.append(ACCOUNT, new_events(1), expected_version=0)
        with views.view_transaction() as tx:
            tx.execute(INSERT, {"account": "a", "amount": 1})
        store.append(ACCOUNT, new_events(1), expected_version=1)

        assert [event.version for event in store.read(ACCOUNT)] == [1, 2]
        assert views.query(SELECT) == [("a", 1)]

    def test_a_transaction_says_which_sql_it_speaks(self, views: ViewStore) -> None:
        with views.view_transaction() as tx:
            assert tx.dialect in {"sqlite", "postgresql"}

    def test_a_closed_store_keeps_no_views(self, views: ViewStore, store: EventStore) -> None:
        store.close()

        with pytest.raises(StoreClosed):
            views.query(SELECT)
        with pytest.raises(StoreClosed), views.view_transaction():
            pass
