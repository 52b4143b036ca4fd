//! Colours and arrow heads. Plain classes, no custom properties: not every renderer of SVG knows those.
//!
//! Every text has a contrast of at least 4.5:1 on its ground, in both schemes.

/// The style sheet.
pub(super) const STYLE: &str = "<style>\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue','DejaVu Sans',sans-serif}\
.page{fill:#f6f7f9}\
.title{font-size:20px;font-weight:650;fill:#16202c}\
.name{font-size:13px;font-weight:600;fill:#16202c}\
.figures{font-size:11px;fill:#566274}\
.card{fill:#fff;stroke:#cfd6df;stroke-width:1}\
.icon{fill:none;stroke-width:1.5;stroke-linejoin:round;stroke-linecap:round}\
.service .icon{stroke:#2f6fde}.database .icon{stroke:#7a4fd0}.cache .icon{stroke:#b4560c}\
.queue .icon{stroke:#0f7f78}.external .icon{stroke:#5c6b7d}.user .icon{stroke:#16202c}.model .icon{stroke:#b3318a}\
.node.fair .card{stroke:#c98500;stroke-width:2}.node.bad .card{stroke:#d3302f;stroke-width:2}\
.node.fair .mark{fill:#8a5a00;font-weight:600}.node.bad .mark{fill:#b71f1f;font-weight:600}\
.edge{fill:none;stroke-linecap:butt}\
.edge.good{stroke:#93a1b3}.edge.fair{stroke:#c98500}.edge.bad{stroke:#d3302f}\
.inferred{stroke-dasharray:6 4}.busy .good{opacity:.45}\
.head-good{fill:#93a1b3}.head-fair{fill:#c98500}.head-bad{fill:#d3302f}\
@media (prefers-color-scheme:dark){\
.page{fill:#10161e}.title,.name{fill:#e8edf3}.figures{fill:#9aa8b8}\
.card{fill:#1a222d;stroke:#364252}\
.service .icon{stroke:#6ea4ff}.database .icon{stroke:#b393ff}.cache .icon{stroke:#f0985a}\
.queue .icon{stroke:#4fc9c0}.external .icon{stroke:#9aa8b8}.user .icon{stroke:#e8edf3}.model .icon{stroke:#f07cc8}\
.node.fair .card{stroke:#e0a83a}.node.bad .card{stroke:#ff6b66}\
.node.fair .mark{fill:#e9b656}.node.bad .mark{fill:#ff8d88}\
.edge.good{stroke:#5b6a7d}.edge.fair{stroke:#e0a83a}.edge.bad{stroke:#ff6b66}\
.head-good{fill:#5b6a7d}.head-fair{fill:#e0a83a}.head-bad{fill:#ff6b66}\
}</style>";

/// Arrow heads, of one size whatever the width of the line.
pub(super) const MARKERS: &str = "<defs>\
<marker id=\"good\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"10\" markerHeight=\"10\" \
markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path class=\"head-good\" d=\"M0 0.5 10 5 0 9.5Z\"/></marker>\
<marker id=\"fair\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"10\" markerHeight=\"10\" \
markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path class=\"head-fair\" d=\"M0 0.5 10 5 0 9.5Z\"/></marker>\
<marker id=\"bad\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"10\" markerHeight=\"10\" \
markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path class=\"head-bad\" d=\"M0 0.5 10 5 0 9.5Z\"/></marker>\
</defs>";
