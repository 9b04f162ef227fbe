"""The user's training corpus: its files, its documents, and their packing into contexts."""
