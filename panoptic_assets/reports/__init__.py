"""What people see: Markdown tables, contact sheets and pages.

Belongs here: turning results into what a page can show, with every name escaped. Does not belong
here: computing the results, and reading them from the store.
"""
