"""The transaction coordinator: ``__transaction_state`` as a state machine."""
