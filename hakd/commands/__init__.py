"""The sub-commands of `hakd`, a module each: the options, the help with examples, the call of the implementation."""
