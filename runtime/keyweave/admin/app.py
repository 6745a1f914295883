"""The admin commands: one module per command. This module only lists them."""

from __future__ import annotations

from typing import Final

import typer

from keyweave.admin import (
    acl,
    adopt,
    backfill,
    check,
    demo,
    doctor,
    drop_view,
    explain,
    export,
    get,
    health,
    load,
    ls,
    migrate_documents,
    reindex,
    repartition,
    shell,
    studio,
    sweep,
)

app: Final = typer.Typer(no_args_is_help=True, add_completion=False)

app.command(epilog=demo.EPILOG)(demo.demo)
app.command(epilog=get.EPILOG)(get.get)
app.command(epilog=ls.EPILOG)(ls.ls)
app.command(epilog=explain.EPILOG)(explain.explain)
app.command(epilog=shell.EPILOG)(shell.shell)
app.command(epilog=studio.EPILOG)(studio.studio)
app.command(epilog=adopt.EPILOG)(adopt.adopt)
app.command(epilog=health.EPILOG)(health.health)
app.command(epilog=doctor.EPILOG)(doctor.doctor)
app.command(epilog=acl.EPILOG)(acl.acl)
app.command(epilog=check.EPILOG)(check.check)
app.command(epilog=reindex.EPILOG)(reindex.reindex)
app.command(epilog=export.EPILOG)(export.export)
app.command("import", epilog=load.EPILOG)(load.import_)
app.command(epilog=backfill.EPILOG)(backfill.backfill)
app.command("drop-view", epilog=drop_view.EPILOG)(drop_view.drop_view)
app.command("migrate-documents", epilog=migrate_documents.EPILOG)(migrate_documents.migrate_documents)
app.command("repartition", epilog=repartition.EPILOG)(repartition.repartition_)
app.command(epilog=sweep.EPILOG)(sweep.sweep)
