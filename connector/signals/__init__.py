"""Beacons from the browser of a checkout, and their merge into the events of the same checkout."""
