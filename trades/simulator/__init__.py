"""Made-up trading history: stories (pure), and their way into the database. Test data, never to be mixed with a firm's own."""
