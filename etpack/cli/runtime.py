"""`etpack runtime`."""

from __future__ import annotations

import click

from etpack.runtime_files import runtime_dir, runtime_files


@click.command()
@click.option("--dir", is_flag=True, help="The folder with all of it.")
@click.option("--cmakedir", is_flag=True, help="What CMAKE_PREFIX_PATH needs for find_package(etpack).")
@click.option("--includes", is_flag=True, help="The compiler's option for the headers.")
@click.option("--files", is_flag=True, help="The sources and headers to copy, one a line.")
def runtime(**flags: bool) -> None:
    """Say where the C reader and the ExecuTorch loader are, for a build system.

    They are sources: README.md beside them says which of them a program needs.
    """
    wanted = [f"--{name}" for name, given in flags.items() if given]
    if not wanted:
        raise click.UsageError("say what of it: --dir, --cmakedir, --includes or --files")
    if len(wanted) > 1:
        raise click.UsageError(f"{' and '.join(wanted)} were given: choose one")
    for line in map(str, runtime_files()) if wanted == ["--files"] else [str(runtime_dir())]:
        click.echo(f"-I{line}" if wanted == ["--includes"] else line)
