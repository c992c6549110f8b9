"""What the leader of a partition does for share groups (KIP-932): sessions, delivery, acquisition locks."""
