"""Clusters of broker processes, and a checker of what clients were promised while brokers fail."""
