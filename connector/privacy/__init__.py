"""Retention of data, and data-subject requests: erasure and export."""
