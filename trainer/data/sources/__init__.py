"""Where corpora come from, one module each; ``base`` says what a source is."""
