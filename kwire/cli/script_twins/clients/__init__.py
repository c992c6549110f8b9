"""The scripts that produce and consume: on the console, for measurements, for verification."""
