"""Ingestion on a Dask cluster: workers read scenes and hash them, this process stores the codes.

connection.py  a client of the scheduler that is known to be good enough
worker.py      what runs on a worker: a few scenes in, their codes out
pipeline.py    scenes -> tasks -> hashed scenes, in order; a worker may die at any point
"""
