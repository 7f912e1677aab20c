"""The backend c: a generated program, compiled here."""
