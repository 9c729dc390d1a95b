"""What the portal's commands share."""
