"""The embedded controller: the metadata log, its formatting and its snapshots."""
