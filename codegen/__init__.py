"""Turns graphs into source text. Runs nothing; imports only the IR."""
