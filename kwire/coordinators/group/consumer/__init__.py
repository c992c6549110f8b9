"""Consumer groups of the protocol of KIP-848: see each module's head."""
