"""What the shop's pages report of the copies that browsers sent to TikTok: read, guarded, stored, matched."""
