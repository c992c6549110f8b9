"""The handling of one request: its context, the table of what is served, the dispatch."""
