"""Benchmarks: what a hub does in a second, and what it costs.

``python -m benchmarks`` runs them; ``--help`` says how. Every hub here is durable (fsync on) and has its default settings;
nothing is turned off that a user would have on. Each run has a fresh process and a fresh folder, so that neither memory nor
files leak from one into the next. Beside each figure stand two limits from the same run, in the same unit:

*LMDB alone*
  LMDB with its default flags, writing as many bytes under the same keys in the same batches as the hub did
  (:mod:`benchmarks.lmdb_alone`). What is lost against it is the price of everything but the disk.

*bare Python*
  The same methods and functions, called directly, kept nowhere. What is lost against it is the price of durability.

What must wait for a commit is also given as a multiple of LMDB's commits of one put in the same run: such a ratio hardly
depends on the machine.

Workloads that peers were measured with as well are named W1 to W8 in their descriptions, and count in the same way: from the
client's first call to the last result in the client's hands. What is to be reached, and what the best durable peer reaches, is
in :mod:`benchmarks.targets`; how to run peers beside, in ``peers.md``; what was reached, in ``RESULTS.md``.
"""
