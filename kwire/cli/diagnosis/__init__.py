"""Commands that find out what is wrong: ``kwire doctor`` and ``kwire selfcheck``."""
