"""The page's looks: a phone, a screen and paper; light and dark."""

from checks.pictures.palette import cell_css, css

_NAMES = ("paper", "soft", "ink", "muted", "line", "link", "right", "wrong", "unsure")
_LIGHT = ("#ffffff", "#f3f5f8", "#1b1f24", "#4f5861", "#cbd2d9", "#00549e", "#0b6b45", "#a3200f", "#7a5600")
_DARK = ("#12161b", "#1a2027", "#e6edf3", "#aab4be", "#3a444e", "#7cc0ff", "#4ecb9a", "#ffb27a", "#f0c14b")

_RULES = """
*{box-sizing:border-box}
html{color-scheme:light dark}
body{margin:0 auto;padding:14px 20px 40px;max-width:1240px;background:var(--paper);color:var(--ink);font:15px/1.45 system-ui,sans-serif}
h1{font-size:1.25rem;line-height:1.3;margin:0}
h2{font-size:1.08rem;margin:1.6em 0 .5em;border-bottom:1px solid var(--line);padding-bottom:.2em}
h3{font-size:.98rem;margin:.9em 0 .3em}
p,ul,dl,figure{margin:.4em 0}
ul{padding-left:1.2em}
header p{color:var(--muted);font-size:.88rem;margin:.3em 0 0}
.verdict{display:inline-block;padding:.05em .5em;margin-right:.35em;border:2px solid;border-radius:5px;font-weight:700;letter-spacing:.02em}
.agrees{color:var(--right)}.disagrees{color:var(--wrong)}.inconclusive{color:var(--unsure)}
.first{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1.05fr);gap:0 26px;margin-top:10px}
.first>section>h2:first-child{margin-top:.2em}
.first p,.first li{font-size:.93rem}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:10px 26px}
.wide{overflow-x:auto;margin-bottom:.6em}
table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--muted);font-size:.85rem;padding-bottom:.3em}
th[scope=row] .name{white-space:nowrap}
thead th{text-align:center}
th,td{padding:.18em .6em;border:1px solid var(--line);text-align:right;vertical-align:top}
th{background:var(--soft);font-weight:600}
th[scope=row],td.words{text-align:left}
td.words{min-width:14em}
td.cell{text-align:center;min-width:4.2em;white-space:nowrap}
code,.name{font-family:ui-monospace,Consolas,monospace;font-size:.94em;overflow-wrap:anywhere}
svg{display:block;max-width:100%;height:auto}
figure.heat{margin:0 0 12px}
.wide>svg{max-width:none}
figure.heat svg:focus-visible,.wide:focus-visible,summary:focus-visible{outline:3px solid var(--link);outline-offset:2px}
figcaption,output{display:block;font-size:.88rem;color:var(--muted)}
output{color:var(--ink);min-height:1.45em;font-family:ui-monospace,Consolas,monospace;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.15em 1em;font-size:.93rem}
dt{color:var(--muted)}dd{margin:0}
details{margin:.5em 0}summary{cursor:pointer;color:var(--link)}
.cause{border-left:4px solid var(--wrong);padding:.1em 0 .1em .8em;margin:.5em 0}
.answer{max-width:46em}
footer{margin-top:2em;color:var(--muted);font-size:.83rem}
.p-cursor{fill:none;stroke:var(--link);stroke-width:2.5}
@media(max-width:760px){body{padding:10px 12px 30px}.first{display:block}dl{display:block}dd{margin-bottom:.4em}
.wide>svg{width:620px}}
@media print{body{max-width:none;padding:0;font-size:11px}.first{display:block}.wide{overflow:visible}
figure,table,.cause{break-inside:avoid}h2,h3,h2+p{break-after:avoid}
.wide>svg{max-width:100%}details::details-content{content-visibility:visible;display:block}summary{list-style:none}}
"""


def style() -> str:
    """Dark where the reader prefers it, on a screen; paper is white."""
    light, dark = (_all(*chosen) for chosen in ((_LIGHT, False), (_DARK, True)))
    return f"{light}\n@media screen and (prefers-color-scheme:dark){{\n{dark}\n}}\n{_RULES}"


def _all(colours: tuple[str, ...], dark: bool) -> str:
    variables = ";".join(f"--{name}:{colour}" for name, colour in zip(_NAMES, colours, strict=True))
    return f":root{{{variables}}}\n{css(dark)}\n{cell_css(dark)}"
