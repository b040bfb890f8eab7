"""Work through a shop's API: webhooks registered and repaired, missed orders imported, thin webhooks' orders fetched.

Also fetches the public keys of shops that sign with a private key. Nothing here runs in a webhook's request.
"""
