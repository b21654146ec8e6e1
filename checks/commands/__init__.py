"""The subcommands of ``lstm-check`` and the arguments that they share."""
