"""What Ray gives: a session, devices as resources, news across machines, and what killed processes leave."""
