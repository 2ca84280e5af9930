"""Does the prior earn its place? Arms, families of campaigns, training of its weights, figures."""
