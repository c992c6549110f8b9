"""The cases, one file per tool, client or kind of proof."""
