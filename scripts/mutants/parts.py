"""The parts of the core, and which tests are about them."""

from typing import Final

from attrs import frozen


@frozen
class Part:
    """Modules, as patterns below ``src/esbank``, and the tests that know them, as patterns below ``tests``.

    `without` deselects tests by a word in their names.
    """

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    without: str = ""


PARTS: Final = {
    "codec": Part(
        modules=("codec/*.py",),
        tests=("codec/test_*.py", "test_upcasters.py", "test_schema_lock.py", "test_check_snapshots.py"),
    ),
    "repository": Part(
        modules=(
            "repository.py",
            "_command_loop.py",
            "_loading.py",
            "_cache.py",
            "snapshots.py",
            "aggregate.py",
            "events.py",
            "_dispatch.py",
        ),
        tests=(
            "test_aggregate.py",
            "test_check_snapshots.py",
            "test_context.py",
            "test_cooperating_classes.py",
            "test_events.py",
            "test_mistakes.py",
            "test_repository*.py",
            "test_snapshot*.py",
        ),
        without="postgresql",
    ),
    "projection": Part(
        modules=("projection/*.py",),
        tests=(
            "test_cooperating_classes.py",
            "test_inline_views.py",
            "test_mistakes.py",
            "test_projection.py",
            "test_projection_checkpoints.py",
            "test_projection_failures.py",
            "test_projection_postgres.py",
            "test_projection_rebuild.py",
            "test_projection_retrying.py",
            "test_projection_running.py",
            "test_projection_sharing.py",
            "test_projection_side_effects.py",
            "test_projection_skipping.py",
            "test_projection_status.py",
            "test_projection_versions.py",
        ),
        without="postgresql",
    ),
    "backends": Part(
        modules=("backends/*.py",),
        tests=(
            "backends/test_claims.py",
            "backends/test_group_commit.py",
            "backends/test_jsonl.py",
            "backends/test_memory.py",
            "backends/test_postgres*.py",
            "backends/test_sqlite*.py",
            "test_transfer.py",
        ),
    ),
}
