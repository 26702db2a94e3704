"""How fast esbank is, against the bare driver and its peers, all measured in one run: ``make bench``.

- ``contender`` is what one library is asked to do, and ``contenders`` has a module for each library;
- ``measure`` does one thing of one contender once, in a process of its own;
- ``rounds`` lets contenders take turns at the rows of a table, and ``tables`` says what came of it;
- ``libraries``, ``guarantees`` and ``views`` are such tables; ``profile`` tells where the time goes, by ``watching``,
  and ``growth``, ``memory`` and ``startup`` ask other questions;
- ``http`` asks the bank over HTTP;
- ``postgres`` and what begins like it measure the store on PostgreSQL.
"""
