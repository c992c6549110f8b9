"""The segments of a log: a .log file and its indexes, and lookups in them."""
