"""A torture test for stores: whether yours keeps its promises on your disk, on your database, under kill -9.

`torture` lets writer processes race for the same streams, with several threads each, while others follow the log and
keep a view up to date. All of them are killed with SIGKILL at any moment, stopped for a while, and started again. What
each was told is put down in files outside the store. In the end a judge compares: was anything lost that was
acknowledged, is anything there twice, was every conflict justified, has every follower seen exactly the log? ::

    if __name__ == "__main__":  # because it starts processes, which import this module
        verdict = torture(partial(SQLiteEventStore, "/mnt/new-disk/torture.db"), seconds=60)
        print(verdict)
        sys.exit(not verdict.ok)

``python -m esbank torture`` does so from the command line. Jepsen (Kingsbury) is the model of all such tests; what is
checked is that each stream is linearizable (Herlihy and Wing, 1990), and that followers see one order.
"""

from esbank.testing.torture._chaos import Server
from esbank.testing.torture._findings import Check, Finding
from esbank.testing.torture._torture import torture
from esbank.testing.torture._verdict import Verdict

__all__ = ["Check", "Finding", "Server", "Verdict", "torture"]
