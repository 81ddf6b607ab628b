"""What the user asked for: the options as YAMLs, the values they take, and a checked config. Never imports torch."""
