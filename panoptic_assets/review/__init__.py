"""What reviewers look at: reports of runs, comparisons, maps."""
