"""Draw the rooms of runner/ and their imports: the table in docs/architecture.md, and docs/pictures/floors.svg.

python scripts/draw_floors.py            # write both
python scripts/draw_floors.py --check    # exit 1 if one is not what it would write
"""

import argparse
import html
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
PICTURE = ROOT / "docs" / "pictures" / "floors.svg"
FIRST, LAST = "<!-- floors -->\n", "<!-- end of floors -->\n"
BOX, GAP, HEIGHT, WIDTH = 96, 8, 74, 1400  # pixels


def main() -> int:
    """Write the table and the picture, or hold them against what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if one is out of date")
    check = parser.parse_args().check
    rooms = imports()
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(FIRST)
    after = rest.partition(LAST)[2]
    wanted = {PAGE: before + FIRST + table(rooms) + LAST + after, PICTURE: picture(rooms)}
    old = [p for p, new in wanted.items() if not p.is_file() or p.read_text(encoding="utf-8") != new]
    for path in old:
        if check:
            print(f"{path.relative_to(ROOT)} is not what scripts/draw_floors.py draws", file=sys.stderr)
        else:
            path.write_text(wanted[path], encoding="utf-8")
            print(path.relative_to(ROOT))
    return 1 if check and old else 0


def imports() -> list[tuple[str, dict[str, set[str]]]]:
    """Return the floors from the top down: a name, and its rooms with the rooms that each imports."""
    from tests.support.drawing import FLOORS, Drawing, room

    found: dict[str, set[str]] = {}
    for arrow in Drawing(ROOT / "runner").inside:
        source, target = room(arrow.source), room(arrow.target)
        found.setdefault(source, set())
        if source != target and target != "runner":
            found[source].add(target)
    listed = [(name, {r: found.get(r, set()) for r in sorted(rooms - {"runner"})}) for name, rooms in FLOORS]
    return listed[::-1]


def table(floors: list[tuple[str, dict[str, set[str]]]]) -> str:
    """Return a row a room, from the top down."""
    lines = ["| floor | room | imports |", "| --- | --- | --- |"]
    for name, rooms in floors:
        for room, targets in rooms.items():
            lines.append(f"| {name} | `{room}` | {', '.join(f'`{t}`' for t in sorted(targets)) or 'nothing of ours'} |")
    return "\n".join(lines) + "\n"


def picture(floors: list[tuple[str, dict[str, set[str]]]]) -> str:
    """Return the rooms as boxes, a row a floor, with a line for each import that runs down."""
    places: dict[str, tuple[float, float]] = {}
    boxes = []
    for row, (name, rooms) in enumerate(floors):
        y = 20 + row * (HEIGHT + 26)
        left = (WIDTH - len(rooms) * (BOX + GAP)) / 2 + 60
        boxes.append(f'<text x="8" y="{y + 22}" class="floor">{html.escape(name)}</text>')
        for column, room in enumerate(rooms):
            x = left + column * (BOX + GAP)
            places[room] = (x + BOX / 2, y)
            boxes.append(f'<rect x="{x:.0f}" y="{y}" width="{BOX}" height="34" rx="5"/>')
            boxes.append(f'<text x="{x + BOX / 2:.0f}" y="{y + 22}" text-anchor="middle">{room}</text>')
    lines = []
    for _, rooms in floors:
        for room, targets in rooms.items():
            for target in sorted(targets & places.keys()):
                (x1, y1), (x2, y2) = places[room], places[target]
                if y2 > y1:
                    lines.append(
                        f'<path d="M{x1:.0f} {y1 + 34} C{x1:.0f} {y1 + 70} {x2:.0f} {y2 - 36} {x2:.0f} {y2}"/>'
                    )
    height = 20 + len(floors) * (HEIGHT + 26)
    style = (
        "text{font:13px sans-serif;fill:#222}.floor{fill:#777;font-size:11px}rect{fill:#eef3fa;stroke:#5b7db1}"
        "path{fill:none;stroke:#5b7db1;stroke-opacity:.28}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    background = f'<rect width="{WIDTH}" height="{height}" style="fill:#fff;stroke:none"/>'
    about = "<title>Rooms of runner/, floor by floor, and what each imports</title>"
    return "\n".join([head, f"<style>{style}</style>", about, background, *lines, *boxes, "</svg>"]) + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    raise SystemExit(main())
