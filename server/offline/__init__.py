"""Programs that process stored records, not live requests."""
