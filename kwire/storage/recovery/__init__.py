"""Opening a log after a stop of any kind: repairs, what they cost, and checks of a log that is not in use."""
