"""Settings: the environment and the stores file become one checked `Config`, and its plain-language summary."""
