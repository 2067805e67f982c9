"""The reference job, ``python main.py``: what it is asked for, what it trains and what it measures."""
