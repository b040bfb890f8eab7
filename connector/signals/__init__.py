"""What the browser of a checkout reports (beacons), matched with the events of the same checkout."""
