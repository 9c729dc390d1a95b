"""What tests stand on: a broker, real processes, databases and a browser."""
