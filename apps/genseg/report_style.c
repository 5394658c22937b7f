/*
 * The report's head: content policy and style sheet. Not the contents. Charts take their colours from the variables
 * here, so that light, dark and print differ in this one place; printing always has the light ones.
 */
#include "report.h"

static const char *const head[] = {
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta name=\"referrer\" content=\"no-referrer\">\n"
    "<meta name=\"color-scheme\" content=\"light dark\">\n"
    "<title>genseg run report</title>\n<style>\n",

    ":root{--page:#fbfbf9;--card:#fff;--ink:#1d2228;--soft:#5c6670;--faint:#8b949d;--rule:#e2e4e1;--grid:#ecedea;"
    "--axis:#aab0b5;--c1:#1f6fb4;--c2:#d1661a;--c3:#0f8a6a;--c4:#8450b0;--good:#12764a;--goodback:#e5f4ec;"
    "--bad:#b3261e;--badback:#fdecea;--warn:#8a5a00;--warnback:#fdf4dc}\n"
    "@media screen and (prefers-color-scheme:dark){:root{--page:#14171a;--card:#1b1f23;--ink:#e6e8ea;--soft:#a5aeb6;"
    "--faint:#7c868f;--rule:#30363c;--grid:#282d32;--axis:#5a636b;--c1:#62a8e5;--c2:#f0954f;--c3:#3fc19c;--c4:#b890e0;"
    "--good:#6fd3a2;--goodback:#17352a;--bad:#ff9a8f;--badback:#3e1f1d;--warn:#f0c66a;--warnback:#3a2f14}}\n",

    "*{box-sizing:border-box}\n"
    "html{-webkit-text-size-adjust:100%;text-size-adjust:100%}\n"
    "body{margin:0;background:var(--page);color:var(--ink);line-height:1.5;font-size:15px;"
    "font-family:system-ui,-apple-system,\"Segoe UI\",Roboto,\"Noto Sans\",\"Liberation Sans\",Arial,sans-serif;"
    "print-color-adjust:exact;-webkit-print-color-adjust:exact}\n"
    "main{max-width:1140px;margin:0 auto;padding:36px 20px 60px}\n"
    "h1,h2,h3{line-height:1.2;font-weight:650;letter-spacing:-.01em;text-wrap:balance}\n"
    "h1{font-size:30px;margin:0 0 4px}\n"
    "h2{font-size:21px;margin:52px 0 6px;padding-top:14px;border-top:1px solid var(--rule)}\n"
    "h3{font-size:15px;margin:26px 0 8px}\n"
    "p{margin:6px 0 14px;max-width:78ch}\n"
    ".lead{color:var(--soft);font-size:16px;margin:0 0 14px}\n"
    ".note{color:var(--soft);font-size:13.5px}\n"
    "nav{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:13.5px;margin:0 0 22px}\n"
    "a{color:var(--c1);text-decoration:none}\na:hover{text-decoration:underline}\n"
    "code,.mono{font-family:ui-monospace,\"SF Mono\",Menlo,Consolas,\"Liberation Mono\",monospace;font-size:.92em}\n",

    ".box{border-left:4px solid;border-radius:4px;padding:12px 16px;margin:0 0 14px;max-width:none}\n"
    ".box b{display:block}\n"
    ".box.bad{color:var(--bad);background:var(--badback);border-color:var(--bad)}\n"
    ".box.warn{color:var(--warn);background:var(--warnback);border-color:var(--warn)}\n"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(46%,230px),1fr));gap:12px;margin:14px 0 18px}\n"
    ".tile{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:12px 14px;min-width:0}\n"
    ".tile .name{font-size:12.5px;color:var(--soft)}\n"
    ".tile .value{font-size:23px;font-weight:620;line-height:1.25;overflow-wrap:anywhere}\n"
    ".tile .value small{font-size:15px;font-weight:450;color:var(--soft)}\n"
    ".tile .more{font-size:12.5px;color:var(--soft);overflow-wrap:anywhere}\n"
    ".tile.main{border-color:var(--c1);box-shadow:inset 0 3px 0 var(--c1)}\n"
    ".tile.main .value{font-size:32px}\n"
    ".good{color:var(--good)}\n.bad{color:var(--bad)}\n"
    ".verdict{display:inline-block;border-radius:99px;padding:0 9px;font-size:12.5px;font-weight:600;white-space:nowrap}\n"
    ".verdict.good{background:var(--goodback)}\n.verdict.bad{background:var(--badback)}\n"
    ".verdict.none{background:var(--grid);color:var(--soft)}\n",

    ".grid{display:grid;gap:14px;margin:12px 0;align-items:start}\n"
    ".two{grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr))}\n"
    ".three{grid-template-columns:repeat(auto-fill,minmax(min(100%,300px),1fr))}\n"
    ".five{grid-template-columns:repeat(auto-fill,minmax(min(48%,196px),1fr))}\n"
    ".cells{grid-template-columns:repeat(auto-fill,minmax(145px,1fr));gap:10px}\n"
    "figure{margin:0;background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:12px 12px 8px;"
    "min-width:0;break-inside:avoid}\n"
    "figcaption{display:flex;flex-wrap:wrap;gap:2px 14px;align-items:baseline;font-size:12.5px;color:var(--soft);"
    "margin:0 2px 6px}\n"
    "figcaption b{font-size:14px;font-weight:620;color:var(--ink);margin-right:auto}\n"
    ".key{white-space:nowrap}\n"
    ".key i{display:inline-block;width:15px;height:3px;border-radius:2px;margin-right:5px;vertical-align:middle}\n"
    ".k1{background:var(--c1)}.k2{background:var(--c2)}.k3{background:var(--c3)}.k4{background:var(--c4)}"
    ".truth{background:#00ff00}.predicted{background:#ff00ff}\n"
    "figure .below{margin:4px 2px 2px;font-size:12px;color:var(--faint);max-width:none}\n"
    ".cells figure{padding:8px 8px 6px}\n"
    ".cells figcaption{margin:0 0 2px}\n.cells figcaption b{font-size:13px;overflow-wrap:anywhere}\n"
    ".weights{display:grid;grid-template-columns:1fr 1fr 1fr;text-align:center;font-size:11.5px;color:var(--soft);"
    "font-variant-numeric:tabular-nums}\n"
    ".weights span{border-top:3px solid;margin:2px 2px 0;padding-top:1px}\n"
    ".weights .w1{border-color:var(--c1)}.weights .w2{border-color:var(--c2)}.weights .w3{border-color:var(--c3)}\n"
    ".weights .top{color:var(--ink);font-weight:650}\n"
    ".empty{display:flex;align-items:center;justify-content:center;min-height:120px;color:var(--faint);font-size:13px}\n",

    "svg{display:block;width:100%;height:auto}\n"
    "svg text{font-size:11px;fill:var(--soft);font-family:inherit;font-variant-numeric:tabular-nums}\n"
    "svg .grid-line{stroke:var(--grid);stroke-width:1}\n"
    "svg .axis{stroke:var(--axis);stroke-width:1;fill:none}\n"
    "svg .line{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}\n"
    "svg .raw{fill:none;stroke-width:1;stroke-opacity:.26;stroke-linejoin:round}\n"
    "svg .s1{stroke:var(--c1)}svg .s2{stroke:var(--c2)}svg .s3{stroke:var(--c3)}svg .s4{stroke:var(--c4)}\n"
    "svg .f1{fill:var(--c1)}svg .f2{fill:var(--c2)}svg .f3{fill:var(--c3)}svg .f4{fill:var(--c4)}\n"
    "svg .reference{stroke:var(--faint);stroke-width:1;stroke-dasharray:2 3}\n"
    "svg .mark{stroke:var(--ink);stroke-width:1;stroke-dasharray:4 3;stroke-opacity:.65}\n"
    "svg .mark-name{fill:var(--ink)}\n"
    "svg .bar{fill:var(--c1);fill-opacity:.85}\nsvg .bar:hover{fill-opacity:1}\n",

    ".scroll{overflow-x:auto;margin:10px 0 14px}\n"
    "table{border-collapse:collapse;font-size:13.5px;width:100%}\n"
    "th,td{text-align:left;padding:5px 12px 5px 0;border-bottom:1px solid var(--rule);vertical-align:top}\n"
    "th{font-weight:600;color:var(--soft);font-size:12.5px}\n"
    "td.number,th.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\n"
    "td.key-name{color:var(--soft);overflow-wrap:anywhere;width:36%}\n"
    "td.text{overflow-wrap:anywhere}\n"
    "table.compact{width:auto;min-width:min(100%,560px)}\n"
    "tbody.group{border-bottom:1px solid var(--axis)}tbody.group td{border-bottom:0}\n"
    ".columns{columns:2 400px;column-gap:36px;margin-top:14px}\n"
    ".columns section{break-inside:avoid;margin-bottom:18px}\n.columns h3{margin-top:0}\n"
    ".picture{padding:0;overflow:hidden}\n"
    ".picture .empty{aspect-ratio:1}\n"
    ".picture img{display:block;width:100%;height:auto;background:var(--grid)}\n"
    ".picture .words{padding:7px 10px 9px;font-size:12.5px;color:var(--soft);overflow-wrap:anywhere}\n"
    ".picture .words b{color:var(--ink);font-size:13px}\n"
    ".parts{display:grid;grid-template-columns:1fr 1fr 1fr;text-align:center;font-size:11.5px;color:var(--soft);"
    "padding:5px 0}\n"
    "details{margin:14px 0}\nsummary{cursor:pointer;color:var(--c1);font-size:14px}\n"
    "footer{margin-top:56px;padding-top:12px;border-top:1px solid var(--rule);color:var(--faint);font-size:12.5px}\n",

    "@media print{body{font-size:11pt;background:#fff}main{padding:0;max-width:none}nav{display:none}"
    ".two{grid-template-columns:1fr 1fr}.three{grid-template-columns:repeat(3,1fr)}"
    ".five{grid-template-columns:repeat(5,1fr)}.cells{grid-template-columns:repeat(7,1fr);gap:6px}"
    ".scroll{overflow:visible}table{font-size:8.5pt}th{font-size:8pt}th,td{padding-right:7px}.weights{font-size:7.5pt}"
    "h2,h3{break-after:avoid}tr{break-inside:avoid}}\n"
    "</style>\n</head>\n<body>\n"};

void genseg_html_begin(genseg_html *html)
{
    for (size_t i = 0; i < sizeof head / sizeof head[0]; ++i) genseg_html_raw(html, head[i]);
}
