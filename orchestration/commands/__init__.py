"""The commands of `aiprime`, a file per group. Each is a few lines; what it does lives in the module that it names."""
