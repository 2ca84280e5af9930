"""The same proposals of a strong model, judged by an earlier version of the loop and by today's."""
