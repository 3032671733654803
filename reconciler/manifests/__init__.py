"""From a Snapshot to a DesiredState: read, variables, secrets, resolve, validate."""
