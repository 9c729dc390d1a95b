"""Real processes under random violence: what was published must still be recorded once each, and in order."""
