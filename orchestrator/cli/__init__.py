"""The `onepath` command: thin functions from the command line to the rooms."""
