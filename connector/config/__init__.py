"""Settings: the environment and the stores file, validated into one `Config`, and its plain-language summary."""
