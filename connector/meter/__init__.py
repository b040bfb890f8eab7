"""Reports of the shop's pages about the copies that browsers sent to TikTok: read, guarded, stored, matched."""
