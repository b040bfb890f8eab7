"""Invented shoppers and interfaces for the tests and samples of a platform package."""
