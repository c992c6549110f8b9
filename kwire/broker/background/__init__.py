"""Background tasks of a broker: recovery, retention, flushing, compaction."""
