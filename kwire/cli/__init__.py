"""The command line: one file per command, imported late, so that serving does not pay for the others."""
