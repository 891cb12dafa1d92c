"""The messages: what applications may send and will receive, and what services send each other."""
