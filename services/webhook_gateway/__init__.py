"""The door for what Zoho posts: authenticate it, store it once, answer fast. See design §8."""
