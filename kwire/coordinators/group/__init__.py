"""The group coordinator: ``__consumer_offsets`` as a state machine."""
