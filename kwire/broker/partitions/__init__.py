"""The partitions of this broker and the log directories that hold them."""
