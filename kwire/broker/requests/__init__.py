"""The handling of one request: its context, the dispatch and its hooks, quotas."""
