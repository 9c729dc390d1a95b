"""The portal's commands: parse arguments, call one function."""
