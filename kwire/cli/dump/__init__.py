"""Commands that show bytes as text: the files of a log, and messages."""
