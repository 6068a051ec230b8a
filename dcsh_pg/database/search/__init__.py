"""What is asked of an archive; each function is one SQL function of ``dcsh``.

Every function raises NotFound where there is no archive of that name, and UsageError where its filter
cannot be applied.
"""
