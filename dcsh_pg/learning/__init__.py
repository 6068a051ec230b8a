"""What the hashing methods share: encoders, views, losses, schedules, the trainer.

Everything here needs torch, which the extra ``train`` installs; see docs/methods.md.
"""
