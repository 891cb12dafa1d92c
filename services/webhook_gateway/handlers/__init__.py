"""What Zoho posts, by product: is it from Zoho, and what does it tell of?"""
