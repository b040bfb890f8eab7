"""What the tests and samples of a platform package are made of."""
