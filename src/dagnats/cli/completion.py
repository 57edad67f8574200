"""``dagnats completion``: scripts for shells; the words come from ``dagnats __complete``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from dagnats.cli.options import App
from dagnats.cli.outputs import Script
from dagnats.cli.render.console import out
from dagnats.cli.render.results import show

app = App("completion", "Print a shell completion script.", group=False)


class Shell(StrEnum):
    """Shells that there is a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


SCRIPTS = {
    Shell.BASH: """\
_dagnats() {
    local IFS=$'\\n'
    COMPREPLY=($(dagnats __complete -- "${COMP_WORDS[@]:1:$COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _dagnats dagnats
""",
    Shell.ZSH: """\
#compdef dagnats
_dagnats() {
    local -a found
    found=("${(@f)$(dagnats __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then compadd -a found; else _files; fi
}
compdef _dagnats dagnats
""",
    Shell.FISH: """\
function __dagnats
    set -l found (dagnats __complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)
    if set -q found[1]
        printf '%s\\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c dagnats -f -a '(__dagnats)'
""",
}


@app.add("completion")
def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print the script that makes a shell complete dagnats commands.

    For bash: eval "$(dagnats completion bash)".
    """
    script = SCRIPTS[shell]
    document = Script(shell=shell.value, script=script)
    show(document, lambda: out(script, end=""), name=shell.value)
