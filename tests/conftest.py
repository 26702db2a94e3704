"""What all tests share: a PostgreSQL server, for those that want one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest

from esbank.testing.postgres import PostgresServer
from tests.doubles import SERVER


@pytest.fixture(scope="session")
def server_dsn() -> Iterator[str]:
    """Name a database that lives as long as the tests: on the server that is named, or on one of our own.

    While they last the variable names it, for the processes that tests start.
    """
    given = os.environ.get(SERVER)
    if given:
        with new_database(given) as dsn:
            os.environ[SERVER] = dsn
            yield dsn
            os.environ[SERVER] = given
    else:
        with PostgresServer() as server:
            os.environ[SERVER] = server.dsn
            yield server.dsn
            del os.environ[SERVER]


@pytest.fixture
def schema() -> str:
    """Name a schema that is not there yet."""
    return f"test_{uuid4().hex}"


@pytest.fixture
def dsn(server_dsn: str) -> Iterator[str]:
    """Make an empty database on that server, for tests of what concerns all of a database."""
    with new_database(server_dsn) as dsn:
        yield dsn


@pytest.fixture(autouse=True)
def _server(request: pytest.FixtureRequest) -> None:
    """Start the server for a test that has a store in PostgreSQL among its parameters."""
    parameters = request.node.callspec.params.values() if hasattr(request.node, "callspec") else ()
    if any(isinstance(one, str) and "postgresql" in one.split() for one in parameters):
        request.getfixturevalue("server_dsn")


@contextmanager
def new_database(server: str) -> Iterator[str]:
    name = f"test_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield psycopg.conninfo.make_conninfo(server, dbname=name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
