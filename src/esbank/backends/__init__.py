"""Stores to choose from, each imported by its own path so that its driver stays optional.

``esbank.backends.memory`` for tests, ``esbank.backends.sqlite`` for one file on one machine.
"""
