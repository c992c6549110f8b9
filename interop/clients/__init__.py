"""One program per client library, each run as its own process: PROGRAM BOOTSTRAP SCENARIO PREFIX.

A scenario creates what it needs under names that begin with PREFIX, checks with its own client what came back, and
exits 0; anything else is a failure, and what it printed says why. The scenarios have the same names in all programs.
"""
