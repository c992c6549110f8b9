"""The log directories: the partitions in them, cordons, and what a start found missing."""
