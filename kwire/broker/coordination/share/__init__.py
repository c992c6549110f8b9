"""The states of share partitions: their coordinator here or at another broker."""
