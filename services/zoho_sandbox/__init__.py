"""A Zoho that answers like Zoho, for those without a Zoho account. Not for production."""
