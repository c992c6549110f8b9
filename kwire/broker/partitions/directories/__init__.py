"""The log directories: the partitions in them, moves between them, failures, and what a start found missing."""
