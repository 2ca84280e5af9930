"""The trusted data side: from corpora to token files, prepared once into a cache. See prepare."""
