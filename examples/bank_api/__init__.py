"""The bank over HTTP: a service on esbank, to be copied from.

Run it from the folder above ``examples`` with ``make api``, or
``python -m examples.bank_api [--store FILE-OR-URL] [--port 8080] [--workers 2]``; ``docs/how-to/serve-over-http.md``
tells how to use it, and why it is as it is.

- ``commands`` reads what comes in, ``answers`` is what goes out, and ``problems`` is what can go wrong;
- ``conditions`` is about ``ETag`` and ``If-Match``, and ``parameters`` about all that is not in a body;
- ``service`` is what a process does with a store: the bank, and a thread that keeps the views;
- ``accounts`` and ``lists`` are the handlers, ``streams`` follows the log for those who listen;
- ``description`` says to OpenAPI what the framework would not say just so;
- ``application`` puts it all together, ``server`` runs it in one process, and ``workers`` in several.
"""
