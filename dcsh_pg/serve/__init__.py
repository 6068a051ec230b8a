"""The map page and its HTTP interface: ``dcsh-pg serve``.

:func:`dcsh_pg.serve.app.create_app` makes the ASGI application.  It only reads: every request runs in a
read-only transaction of one of a few connections.  docs/map.md describes the page, /openapi.json the
interface.

    settings.py     what the command line says
    app.py          the application, its errors, its page
    protect.py      which requests are answered at all
    rate.py         requests a client may make
    service.py      what requests share: connections, models, caches
    folder.py       temporary files, also after a kill
    asked.py        the bodies of requests, and the queries and filters that they become
    answers.py      hits and archives as JSON, without paths of this machine
    columns.py      the chips of an archive in files that workers share
    compare.py      all chips compared with a query, in these columns
    routes/         the interface, one group a file
    page/           the page: HTML, CSS and ES modules, as they are served
"""
