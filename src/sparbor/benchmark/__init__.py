"""The reference job: what it is asked for, what it trains and what it measures."""
