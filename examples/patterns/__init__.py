"""Patterns of durable programs, one a file; each is small enough to be copied, and runs by itself in a few seconds.

- ``python -m examples.patterns.chaining``: one step after another, and what is undone when one fails.
- ``python -m examples.patterns.fan_out``: many activities side by side, and their results joined.
- ``python -m examples.patterns.monitor``: asking again and again until something has happened, with growing waits.
- ``python -m examples.patterns.approval``: waiting for people, with a time limit and an escalation.
- ``python -m examples.patterns.aggregator``: entities that add up what many senders report.
- ``python -m examples.patterns.eternal``: work that is done again and again, for years.
- ``python -m examples.patterns.billing``: an invoice for each customer and month, exactly once.
- ``python -m examples.patterns.reminder``: an entity that signals itself later, takes that back, and expires.
- ``python -m examples.patterns.quote``: asking several, and taking what comes in time.
"""
