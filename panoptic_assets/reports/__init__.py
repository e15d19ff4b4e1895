"""What people see: Markdown tables and contact sheets.

Belongs here: turning results into what a page can show, with every name escaped. Does not belong
here: computing the results.
"""
