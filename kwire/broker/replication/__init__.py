"""Replication of this broker's partitions: fetching from leaders, and changes of in-sync replicas."""
