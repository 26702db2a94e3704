"""A store carried across a fork: parent and child each go on with it, and neither harms the other."""

import os
from pathlib import Path

import pytest
from processes import Run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@pytest.mark.parametrize("how", ["exits", "returns", "leaves"])
def test_parent_and_child_both_go_on_with_the_store(path: Path, run: Run, how: str) -> None:
    told = run("fork_and_append_in_both", path, how)

    assert told == {"status": 0, "integrity": "ok", "versions": list(range(1, 62)), "log": 61}


def test_children_that_do_nothing_do_no_harm(path: Path, run: Run) -> None:
    told = run("fork_and_do_nothing", path)

    assert told == {"statuses": [0, 0, 0], "integrity": "ok", "versions": list(range(1, 32)), "log": 31}


def test_what_a_child_appends_after_its_parent_has_closed_the_store_is_kept(path: Path, run: Run) -> None:
    told = run("fork_and_close_in_parent", path)

    assert told == {"status": 0, "integrity": "ok", "versions": [1, 2, 3, 4, 5], "log": 5}


def test_a_child_that_closes_the_store_leaves_the_parent_its_own(path: Path, run: Run) -> None:
    told = run("fork_and_close_in_child", path)

    assert told == {"status": 0, "seen": [1, 2, 3, 4, 5], "integrity": "ok", "versions": [1, 2, 3, 4, 5], "log": 5}


def test_a_fork_during_a_write_of_another_thread_leaves_the_child_able_to_write(path: Path, run: Run) -> None:
    told = run("fork_during_transaction_of_another_thread", path)

    assert told == {"status": 0, "rows": [[0]], "integrity": "ok", "versions": [1, 2, 3], "log": 3}


def test_a_transaction_in_which_the_process_forks_is_the_parents(path: Path, run: Run) -> None:
    told = run("fork_inside_transaction", path)

    assert told == {"status": 0, "rows": [[1_999]], "integrity": "ok", "versions": [1, 2], "log": 2}


def test_a_transaction_that_appends_is_not_completed_by_a_child(path: Path, run: Run) -> None:
    told = run("fork_inside_transaction_that_appends", path)

    assert told == {"status": 7, "rows": [[0]], "version": 2, "integrity": "ok", "versions": [1, 2], "log": 2}


def test_children_forked_while_threads_append_do_not_hang(path: Path, run: Run) -> None:
    told = run("fork_while_threads_append", path)

    assert told["statuses"] == [0] * 15
    assert told["integrity"] == "ok"
    assert told["versions"] == list(range(1, told["appended"] + 1))
    assert told["log"] == told["appended"]


def test_threads_may_fork_at_the_same_time(path: Path, run: Run) -> None:
    told = run("fork_in_many_threads", path)

    whole = {"integrity": "ok", "versions": list(range(1, 41)), "log": 40}
    assert told == {"statuses": [0] * 20, "here": whole, "there": whole}


def test_the_workers_of_a_pool_may_use_their_parents_store(path: Path, run: Run) -> None:
    told = run("fork_a_pool", path)

    assert told == {"pool": [1] * 20, "integrity": "ok", "versions": [1, 2], "log": 22}


def test_a_fork_lets_a_thread_finish_that_needs_two_stores(path: Path, run: Run) -> None:
    told = run("fork_while_a_thread_needs_two_stores", path)

    assert told == {"status": 0, "read": 1}
