"""Through the shop's own API: its webhooks registered and repaired, its history compared with what arrived."""
