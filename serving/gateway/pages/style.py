"""The one style sheet of the pages, light and dark. It is put into each page: a page asks nobody for anything."""

SHEET = """
:root{--bg:#f6f7f9;--card:#fff;--ink:#1b2430;--soft:#5b6675;--line:#dfe4ea;--grid:#e8ecf1;--main:#2457c5;--second:#8a4fbf;--warm:#c9731a;--ok:#1d7f56;
--okbg:#e3f4ec;--bad:#c0341d;--badbg:#fcebe7;--none:#7b8694;--nonebg:#eceff3;--band:#eef2f8;--band2:#e2e9f5}
@media (prefers-color-scheme:dark){:root{--bg:#10151c;--card:#18202a;--ink:#e6ebf2;--soft:#9aa7b6;--line:#2a3543;--grid:#222c38;--main:#7aa5ff;
--second:#c79bf0;--warm:#f0a04b;--ok:#4fc995;--okbg:#123227;--bad:#ff8a70;--badbg:#3a1d18;--none:#8a96a5;--nonebg:#242e3a;--band:#1e2835;--band2:#263446}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main,header{max-width:1120px;margin:0 auto;padding:0 20px}
header{padding-top:22px;display:flex;gap:14px;align-items:baseline;flex-wrap:wrap}
header h1{margin:0;font-size:26px;letter-spacing:-.01em;overflow-wrap:anywhere}
header nav{flex-basis:100%;font-size:13px;color:var(--soft)}
a{color:var(--main)}a:focus-visible,summary:focus-visible{outline:2px solid var(--main);outline-offset:2px}
h2{font-size:17px;margin:0 0 10px}h3{font-size:14px;margin:0}
p{margin:6px 0}.soft{color:var(--soft)}.small{font-size:13px}
.badge{display:inline-block;padding:2px 10px;border-radius:99px;font-size:13px;font-weight:600;white-space:nowrap}
.badge.ok{background:var(--okbg);color:var(--ok)}.badge.alarm{background:var(--badbg);color:var(--bad)}.badge.unknown{background:var(--nonebg);color:var(--soft)}
.call{border:1px solid var(--bad);background:var(--badbg);border-radius:10px;padding:10px 14px;margin:14px 0}
section,.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:16px 18px;margin:16px 0}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(320px,1fr));gap:16px;margin:18px 0}
.card{margin:0;display:flex;flex-direction:column;gap:6px;border-top-width:4px}
.card.ok{border-top-color:var(--ok)}.card.alarm{border-top-color:var(--bad)}.card.unknown{border-top-color:var(--none)}
.card h2{margin:0;font-size:19px;overflow-wrap:anywhere}.card .top{display:flex;justify-content:space-between;gap:8px;align-items:baseline}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(165px,1fr));gap:1px;background:var(--card);border:1px solid var(--line);border-radius:12px;
overflow:hidden;margin:16px 0;padding:0}
.facts div{box-shadow:0 0 0 1px var(--line);padding:12px 14px}.facts dt{font-size:12px;color:var(--soft);text-transform:uppercase;letter-spacing:.05em}
.facts.long{grid-template-columns:repeat(auto-fit,minmax(min(100%,330px),1fr))}.facts dd{margin:2px 0 0}.facts dd.big{font-size:20px;font-weight:600;font-variant-numeric:tabular-nums}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));align-items:start;gap:16px}.two section{margin:0}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:14px}caption{position:absolute;left:-9999px}
th,td{text-align:left;padding:6px 10px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}th{font-size:12px;color:var(--soft);font-weight:600}
tr:last-child td{border-bottom:0}td{font-variant-numeric:tabular-nums;overflow-wrap:break-word}.said{min-width:220px;overflow-wrap:anywhere}td time,.card time{white-space:nowrap}
.loud{color:var(--bad);font-weight:600}pre{background:var(--bg);border:1px solid var(--line);border-radius:8px;padding:10px 12px;overflow-x:auto;font-size:13px;margin:8px 0}
.links{display:flex;flex-wrap:wrap;gap:8px 18px;padding:0;margin:8px 0;list-style:none}
details{margin:6px 0}summary{cursor:pointer;color:var(--main)}
.chart{overflow-x:auto}.chart svg{min-width:760px}svg{display:block;width:100%;height:auto}
svg text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:var(--soft);font-variant-numeric:tabular-nums}
svg .name{font-weight:600;fill:var(--ink)}svg .now{fill:var(--ink);font-weight:600}svg .end{text-anchor:end}svg .mid{text-anchor:middle}
.grid{stroke:var(--grid)}.axis{stroke:var(--line)}.line{fill:none;stroke:var(--main);stroke-width:1.8;stroke-linejoin:round}
.line.second{stroke:var(--second)}.limit{fill:none;stroke:var(--bad);stroke-width:1.2;stroke-dasharray:5 3}
.point{fill:var(--main)}.second .point{fill:var(--second)}.point.alarm,.second .point.alarm{fill:var(--bad)}.point.unknown,.second .point.unknown{fill:var(--card);stroke:var(--none)}
.band{fill:var(--band)}.band.odd{fill:var(--band2)}.redcol{fill:var(--bad);opacity:.09}.rows{fill:var(--none);opacity:.55}
.cell.ok{fill:var(--ok)}.cell.alarm{fill:var(--bad)}.cell.nodata{fill:var(--card);stroke:var(--bad);stroke-width:1.4}.cell.unknown{fill:var(--none);opacity:.6}
.mark line{stroke:var(--ink);opacity:.35}.mark circle{fill:var(--ink)}.mark text{fill:var(--card);font-size:10px;font-weight:700;text-anchor:middle}
.mark.called circle,.mark.rolled_back circle,.mark.failed circle{fill:var(--bad)}.mark.promoted circle{fill:var(--ok)}
.hover{fill:transparent}.hover:hover{fill:var(--main);opacity:.1}
.bar{fill:var(--main)}.bar.alarm{fill:var(--bad)}.bar.trending{fill:var(--none);opacity:.45}.room{fill:var(--nonebg)}
.up{fill:var(--main)}.down{fill:var(--warm)}path.second{fill:var(--card);stroke:var(--ink);stroke-width:1.2}.ink{fill:var(--ink)}.frame{fill:none;stroke:var(--line)}
ol.walk{list-style:none;padding:0;margin:0}ol.walk li{border-left:3px solid var(--line);padding:2px 0 8px 14px;margin:0 0 8px}
.record{display:grid;grid-template-columns:minmax(120px,max-content) 1fr;gap:2px 14px;font-size:13px;margin:8px 0}.record dt{color:var(--soft)}.record dd{margin:0;min-width:0;overflow-wrap:anywhere}
a.go{display:inline-block;background:var(--main);color:var(--card);padding:8px 16px;border-radius:8px;text-decoration:none;font-weight:600}
.share{fill:var(--main)}.share.other{fill:var(--second)}
footer{max-width:1120px;margin:0 auto;padding:8px 20px 40px;color:var(--soft);font-size:13px}
""".strip()
