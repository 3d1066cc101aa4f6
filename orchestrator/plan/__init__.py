"""What a sweep is, before and after it ran: configuration, trials, results, forecast. Plain data; starts nothing."""
