"""The reference job: what it is asked for, what it trains, what it measures and what it shows."""
