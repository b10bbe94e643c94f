"""Summaries rendered for people: terminal tables, progress and the results page. Computes nothing."""
