"""Pure state machines over the internal topics: groups and transactions."""
