"""Reports in words, for people: no format knowledge, and nothing is read here."""
