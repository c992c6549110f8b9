"""Fetching from partitions: sessions, reads, and the replica that a consumer should read from."""
