"""What the settings of one broker mean together: listeners, SASL, the authorizer, its role in the quorum."""
