"""The metrics that clients push (KIP-714): subscriptions, client instances, and where the metrics go."""
