"""Replication of one partition as state machines: the leader's view of its followers, and a follower's decisions."""
