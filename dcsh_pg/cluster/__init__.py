"""Ingestion on a Dask cluster: workers read scenes and hash them, this process stores the codes.

connection.py  a checked client of the scheduler
worker.py      runs on a worker: a few scenes in, their codes out
pipeline.py    scenes -> tasks -> hashed scenes, in order; a worker may die at any point
"""
