"""Every flight that left New York, flown once more, durably: ``python -m examples.flights``.

Aircraft and airports are entities. Each flown flight of the file is an orchestration that locks its aircraft and both
airports, moves the aircraft, counts, releases, and has one activity write a line of the log book. The program may be
killed at any point: started again it goes on, and ends with the totals that were published.
"""
