"""Share groups (KIP-932): delivery of the records of a partition, and the share coordinator that persists its state."""
