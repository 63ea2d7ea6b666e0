"""What is due and when, and how failed requests are listed and shown.

    plan.py      which failed requests are due, and why the others are not
    listing.py   ask Graph for the failed requests of each access package
    view.py      one failed request as answers and notices show it

Not for: sending anything (reprocessing/). Both triggers use it.
"""
