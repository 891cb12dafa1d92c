"""The command `zoho-relay`: sees what is stuck, and mends it."""
