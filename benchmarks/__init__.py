"""How fast esbank is, against the bare driver and a peer, all measured in one run: ``make bench``."""
