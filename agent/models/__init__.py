"""Ways to reach a language model, one client each; ``types`` says what a model is."""
