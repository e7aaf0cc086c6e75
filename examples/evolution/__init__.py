"""A lending library whose program has changed while its members stayed: state evolution (E12).

- :mod:`.yesterday` is the program as it was. It wrote the store in ``data/``, which is checked in::

      python -m examples.evolution.yesterday examples/evolution/data

- :mod:`.today` is the program as it is. It copies that store, opens it and goes on where the old one stopped::

      python -m examples.evolution.today

Between the two, attributes were added, renamed, split and given better types; a signal that the old program had accepted,
and an orchestration that it had started, are finished by the new one.
"""
