"""The metadata log: its records and snapshots as bytes, the image as records, and a follower's view."""
