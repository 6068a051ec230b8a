"""What is stored: models, archives, scenes and chips, and the tables and views that hold them."""
