"""The leader's side of share groups (KIP-932): sessions, delivery, acquisition locks."""
