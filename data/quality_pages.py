"""Data Docs that ask no other host for anything: the vendor's pages, their outside styles and scripts replaced by one sheet of our own.

Their logo goes too: its address told another host who looks, when, and at which project. What a script would open is open, and what only works with one is not shown. Knows nothing of expectations.
"""

from __future__ import annotations

import re
from pathlib import Path

from data.files import write_atomically

_OUTSIDE = re.compile(
    r"""<script\b[^>]*\bsrc=["']?https?:[^>]*>\s*</script>|<link\b[^>]*\bhref=["']?https?:[^>]*>|<img\b[^>]*\bsrc=["']?https?:[^>]*>"""
)
_NEWSLETTER = re.compile(r"<footer\b.*?</footer>", re.DOTALL)
_STYLE = """<style id="aiprime">
body{font:15px/1.5 system-ui,sans-serif;color:#1d2733;margin:0 auto;padding:1rem 1.5rem 3rem;max-width:72rem}
a{color:#1f6fb2}nav.navbar,.sticky>.card,form,[data-toggle=collapse]{display:none}
ol.breadcrumb,.nav{list-style:none;display:flex;flex-wrap:wrap;gap:.3rem 1rem;padding:0;margin:.5rem 0}
h1,h2,h3,h4,h5,h6,.card-header,.alert{font-size:1.05rem;margin:1.4rem 0 .3rem}h6,.h6{font-size:.95rem}.alert{border-bottom:1px solid #d5dbe1}
table{border-collapse:collapse;width:100%;margin:.3rem 0}td,th{border-bottom:1px solid #e6eaee;padding:.35rem .6rem;text-align:left;vertical-align:top}
th{color:#5a6875;font-weight:600}td table{width:auto}.badge{background:#eef2f5;border-radius:4px;padding:0 .35em;font-size:.92em}
.text-success,.text-danger,.text-warning{font-style:normal;font-weight:700}.text-success{color:#2c7a4b}.text-danger{color:#b3261e}.text-warning{color:#9a6700}
.fa-check-circle::before{content:"\\2713"}.fa-times::before,.fa-times-circle::before{content:"\\2717"}.fa-exclamation::before,.fa-exclamation-triangle::before{content:"!"}
.d-none{display:none}.cooltip .top{display:none}
@media (prefers-color-scheme:dark){body{background:#14191f;color:#dce3ea}td,th,.alert{border-color:#2b343d}.badge{background:#242c35}a{color:#79b8f0}th{color:#9fb0bf}}
</style>"""


def stand_alone(docs: Path) -> None:
    """Rewrite every page below `docs` that still asks other hosts; safe to repeat."""
    for page in docs.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if _STYLE not in text:
            text = _NEWSLETTER.sub("", _OUTSIDE.sub("", text))
            write_atomically(page, text.replace("</head>", f"{_STYLE}</head>", 1))
