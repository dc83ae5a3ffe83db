"""The local page: a data set, its truth and predictions browsed in a browser, accepted or rejected, and exported."""
