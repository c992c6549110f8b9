"""Synchronous files: logs of record batches, their indexes, checkpoints and recovery."""
