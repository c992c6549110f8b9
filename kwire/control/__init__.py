"""The test bench of a running broker or proxy: faults, the clock, the request log, state, waiting for conditions.

Responsible for: what a test reads and changes while the broker runs; ``http`` offers it over HTTP, ``server`` listens.
Must not depend on: the command line, the test framework. Off unless ``kwire serve --control`` asks for it.
"""
