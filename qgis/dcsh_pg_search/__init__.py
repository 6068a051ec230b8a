"""dcsh-pg in QGIS: search an imagery archive by example."""

from __future__ import annotations


def classFactory(iface):
    """Called by QGIS."""
    from .plugin import Plugin

    return Plugin(iface)
