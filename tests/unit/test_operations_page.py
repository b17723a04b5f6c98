"""The page that operators read lists the settings that the code reads."""

from pathlib import Path

from haven.variables import VARIABLES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()


def test_every_setting_is_described_as_in_the_code() -> None:
    for variable in VARIABLES:
        name = f"`{variable.name}`" + (", `_FILE`" if variable.secret else "")
        default = f"`{variable.default}`" if variable.default else ""
        assert f"| {name} | {default} | {variable.meaning} |" in PAGE


def test_the_page_describes_nothing_else() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `HAVEN_")]
    assert len(rows) == len(VARIABLES)
