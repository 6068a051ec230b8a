"""What is asked of an archive; each function is one SQL function of ``dcsh``."""
