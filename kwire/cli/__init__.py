"""The command line: one module per command, imported late, so that serving does not pay for the others."""
