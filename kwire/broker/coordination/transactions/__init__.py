"""Transactions: their coordinator, producer ids, markers, and admission of transactional appends."""
