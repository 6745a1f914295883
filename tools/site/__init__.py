"""The documentation as a site, and `llms.txt`: made from the pages in docs/, without a network. `python -m tools.site` writes them."""
