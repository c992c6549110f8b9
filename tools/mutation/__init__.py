"""Parts of tools/mutation_score.py."""
