"""Commands that use the HTTP interface of a running broker."""
