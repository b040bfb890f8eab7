"""WooCommerce: its webhooks, its API, samples of what it sends."""
