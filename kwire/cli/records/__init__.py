"""Commands that write and read records, and their clients."""
