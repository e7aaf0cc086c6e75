"""Programs of peers that do W1, W2 and W3, to be run on the same machine: see ``benchmarks/peers.md``.

Each runs in an environment of its own, where its peer is installed and Perdure is not; so these modules import the standard
library, their peer, and each other. ``--program`` hands one to ``python -m benchmarks``, which calls it as it calls its own:
the workload, a fresh folder and the size are its last arguments, and it prints figures as JSON. The figures have the names of
ours, so that ``--against`` compares them.
"""
