"""Share groups (KIP-932): members, target assignment, and which partitions have a state to deliver from."""
