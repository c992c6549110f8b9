"""What one request passes through: its context, the dispatch and its hooks, quotas."""
