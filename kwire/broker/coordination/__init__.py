"""Runs coordinator state machines over the partitions of internal topics."""
