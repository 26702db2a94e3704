"""Stores to choose from, each imported by its own path so that its driver stays optional.

``esbank.backends.sqlite`` is for one file on one machine, ``esbank.backends.postgres`` for several machines, and
``esbank.backends.memory`` for tests; ``esbank.backends.urls`` opens whichever a setting names.
``esbank.backends.jsonl`` is no store, but a file in which a log is moved or kept.
"""
