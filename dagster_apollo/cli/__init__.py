"""`apollo`, the command line: a module a group of commands, each command a few lines over what is below."""
