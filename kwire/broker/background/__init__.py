"""What a broker does by itself: recovery, retention, flushing, compaction."""
