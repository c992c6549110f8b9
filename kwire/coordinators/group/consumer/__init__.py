"""Consumer groups of the protocol of KIP-848."""
