"""Show operators what is stuck and repair it: the command `zoho-relay`."""
