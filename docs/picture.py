"""Draws what ``autosearch front`` prints as an SVG: ``python docs/picture.py < text > picture``.

autosearch front digits | python docs/picture.py "autosearch front digits" > docs/front.svg
"""

import sys
from html import escape

# The command, the title, what was sought and where, the headings.
COLORS = {0: "#7fd1b9", 1: "#f2c57c", 2: "#9fb3c8", 3: "#9fb3c8", 4: "#9fb3c8"}
CHARACTER_PX, LINE_PX, MARGIN_PX = 7.85, 20, 18

command = sys.argv[1]
lines = [f"$ {command}", *sys.stdin.read().rstrip().splitlines()]
width = round(max(map(len, lines)) * CHARACTER_PX + 2 * MARGIN_PX)
height = len(lines) * LINE_PX + 2 * MARGIN_PX
print(
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
    f'height="{height}" role="img" aria-label="{escape(command, quote=True)}">'
)
print(f'<rect width="{width}" height="{height}" rx="8" fill="#16202a"/>')
print('<g font-family="ui-monospace,Menlo,Consolas,DejaVu Sans Mono,monospace" font-size="13">')
for index, line in enumerate(lines):
    color = COLORS.get(index, "#e6edf3")
    y = MARGIN_PX + (index + 0.75) * LINE_PX
    print(
        f'<text x="{MARGIN_PX}" y="{y}" fill="{color}" xml:space="preserve">{escape(line)}</text>'
    )
print("</g></svg>")
