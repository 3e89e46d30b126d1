"""The command `memseg3d`, one file a subcommand."""
