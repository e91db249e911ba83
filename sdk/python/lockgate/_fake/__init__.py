"""The host of `lockgate.testing`, an interface a module."""
