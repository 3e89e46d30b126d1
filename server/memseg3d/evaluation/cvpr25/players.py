"""Who is judged: a player, and two that are programs of their own: any command, any container with a `predict.sh`."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Protocol


class CannotPlay(ValueError):
    """A command that cannot be run, with a sentence that says why."""


class Player(Protocol):
    """Reads `inputs/<case>` and writes `outputs/<case>` with the labelmap as `segs`."""

    name: str
    identity: str
    """What its answers depend on, as far as can be known: results of another identity are not its own."""

    def play(self, case: str, inputs: Path, outputs: Path) -> float:
        """Answer one round; the seconds that it took. What fails leaves no new file."""
        ...


class CommandPlayer:
    """A command that is run in a folder with `inputs` and `outputs`, once a round.

    {inputs} and {outputs} in it are replaced by the folders' paths; files that it names are those of the folder that it
    is called from. Raises `CannotPlay` where it is no command, or its program is not found.
    """

    def __init__(self, command: str, name: str = "command") -> None:
        self.name, self.identity = name, command
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise CannotPlay(f"{command} cannot be read ({error}): check its quotes.") from error
        if not self._words or shutil.which(self._words[0]) is None:
            raise CannotPlay(f"There is no program {self._words[0] if self._words else command!r}: check the command.")
        # It runs in a folder of its own: what is named from here is named whole.
        self._words = [
            # A bare name is a program of the system's.
            word if place == 0 and not os.path.dirname(word) else _whole(word)
            for place, word in enumerate(self._words)
        ]
        self.codes: list[int] = []
        """How the rounds ended, one after the other."""

    def play(self, case: str, inputs: Path, outputs: Path) -> float:
        """Run it; whatever it says goes where this program's own words go."""
        places = {"{inputs}": str(inputs), "{outputs}": str(outputs)}
        command = [_filled(word, places) for word in self._words]
        begun = time.perf_counter()
        self.codes.append(subprocess.run(command, cwd=inputs.parent, check=False).returncode)
        return time.perf_counter() - begun


class DockerPlayer(CommandPlayer):
    """A container as the challenge runs it: `sh predict.sh`, 32 GB, the first GPU where asked for, no network."""

    def __init__(self, image: str, gpu: bool) -> None:
        name = image.split("/")[-1].split(":")[0]
        if not name or any(map(str.isspace, image)):
            raise CannotPlay(f"{image!r} is no name of a container's image.")
        chosen = '--gpus "device=0" ' if gpu else ""
        mounts = "-v {inputs}:/workspace/inputs/ -v {outputs}:/workspace/outputs/"
        super().__init__(
            f"docker container run {chosen}-m 32G --network none --name {name} --rm {mounts} {image} "
            '/bin/bash -c "sh predict.sh"',
            name,
        )
        self.identity += _image_id(image)


def _image_id(image: str) -> str:
    """What a tag means today; empty where docker cannot tell, as before the image was fetched."""
    if shutil.which("docker") is None:
        return ""
    asked = ["docker", "image", "inspect", "--format", "{{.Id}}", image]
    return subprocess.run(asked, capture_output=True, check=False).stdout.decode("utf-8", "replace").strip()


def _whole(word: str) -> str:
    return str(Path(word).absolute()) if Path(word).is_file() else word


def _filled(word: str, places: dict[str, str]) -> str:
    for mark, path in places.items():
        word = word.replace(mark, path)
    return word
