"""`etpack runtime`."""

from __future__ import annotations

import click

from etpack.runtime_files import runtime_dir, runtime_files


@click.command()
@click.option("--dir", "wanted", flag_value="dir", help="The folder with all of it.")
@click.option(
    "--cmakedir", "wanted", flag_value="cmakedir", help="What CMAKE_PREFIX_PATH needs for find_package(etpack)."
)
@click.option("--includes", "wanted", flag_value="includes", help="The compiler's option for the headers.")
@click.option("--files", "wanted", flag_value="files", help="The sources and headers to copy, one a line.")
def runtime(wanted: str | None) -> None:
    """Say where the C reader and the ExecuTorch loader are, for a build system.

    They are sources: README.md beside them says which of them a program needs.
    """
    if wanted is None:
        raise click.UsageError("say what of it: --dir, --cmakedir, --includes or --files")
    for line in map(str, runtime_files()) if wanted == "files" else [str(runtime_dir())]:
        click.echo(f"-I{line}" if wanted == "includes" else line)
