//! The style sheet of the page around the picture, whose own stays with it. Contrast is at least 4.5:1 in both schemes.

/// For a `style` element.
pub(super) const STYLE: &str = "
:root{--ground:#f6f7f9;--sheet:#fff;--line:#dde3ea;--ink:#16202c;--soft:#566274;--fair:#8a5a00;--bad:#b71f1f;\
--fair-mark:#c98500;--bad-mark:#d3302f;--good-mark:#2e8b57}
@media(prefers-color-scheme:dark){:root{--ground:#10161e;--sheet:#161d27;--line:#2b3644;--ink:#e8edf3;--soft:#9aa8b8;\
--fair:#e9b656;--bad:#ff8d88;--fair-mark:#e0a83a;--bad-mark:#ff6b66;--good-mark:#56c08a}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);\
font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue','DejaVu Sans',sans-serif}
main{max-width:1600px;margin:0 auto;padding:32px 40px 64px}
h1{font-size:26px;line-height:1.2;font-weight:650;margin:0}
h2{font-size:18px;font-weight:650;margin:40px 0 4px}
p{margin:0}.lead{color:var(--soft);margin-top:4px}
.note{color:var(--soft);font-size:13px;margin-bottom:12px}
dl{display:flex;flex-wrap:wrap;gap:8px 40px;margin:16px 0 20px}
dt{font-size:12px;color:var(--soft)}dd{margin:0;font-variant-numeric:tabular-nums}
figure.map{margin:0;background:var(--sheet);border:1px solid var(--line);border-radius:12px;overflow:auto}
figure.fitted svg{display:block;width:100%;height:auto}
figure.wide{max-height:85vh}figure.wide svg{display:block}
.rows{background:var(--sheet);border:1px solid var(--line);border-radius:12px;overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px}
th,td{padding:8px 16px;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap}
tbody tr:last-child>*{border-bottom:0}
thead th{font-size:12px;font-weight:600;color:var(--soft)}
tbody th{font-weight:600;max-width:40em;white-space:normal;overflow-wrap:anywhere}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
td.soft{color:var(--soft)}
.name-2{font-weight:400;color:var(--soft)}
.fair{--mark:var(--fair-mark);--word:var(--fair)}.bad{--mark:var(--bad-mark);--word:var(--bad)}
.good{--mark:var(--good-mark);--word:var(--ink)}
td.fair,td.bad{color:var(--word);font-weight:600}
.state::before{content:'';display:inline-block;width:8px;height:8px;border-radius:50%;background:var(--mark,var(--line));\
margin-right:8px}
.findings{list-style:none;margin:0;padding:0;display:grid;gap:12px}
.findings li{background:var(--sheet);border:1px solid var(--line);border-left:4px solid var(--mark);border-radius:12px;padding:14px 18px}
.findings h3{font-size:15px;font-weight:650;margin:0 0 4px}.findings .state{color:var(--word);margin-right:6px}
.findings p{overflow-wrap:anywhere}.findings .soft{color:var(--soft);font-size:13px}
.empty{padding:20px 16px;color:var(--soft)}
@media(max-width:700px){main{padding:20px 16px 40px}th,td{padding:7px 10px}}
@media print{body{background:none}main{max-width:none;padding:0}figure.map,.rows{overflow:visible;max-height:none;border:0}\
figure.wide svg{width:100%;height:auto}tr{break-inside:avoid}}
";
