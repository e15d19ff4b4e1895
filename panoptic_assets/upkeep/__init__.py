"""Keeping a project up to date: refreshing, staleness, sensors, schedules, checks, removal."""
