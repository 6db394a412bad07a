"""The pages that ``debug=True`` shows to a developer, and who may see them."""
