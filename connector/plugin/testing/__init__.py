"""Invented shoppers for the samples of a platform package, and the conformance kit that tests it."""
