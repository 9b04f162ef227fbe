"""The embedded corpus: WordNet glosses and their tokenizer."""
