"""Framework integrations: what they implement, how they are found, and everything that they may use."""
