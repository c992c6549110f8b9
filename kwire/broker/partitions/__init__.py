"""The partitions of this broker: roles, checks of batches, group commit, moves between log directories."""
