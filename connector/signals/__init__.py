"""Beacons from the browser of a checkout, their merge into the checkout's events, and the memory of clicks."""
