#!/bin/sh
# Who may include whom. Usage: layering.sh SOURCE_ROOT
#
#   core | autograd | nn | mlo | apps | tools
#                                         only leftwards; core itself: base -> tape -> store -> plan -> backend
#   tools                                 neither core/plan nor core/backend
#   include/ht                            <ht/...> and the C library
#   examples                              the same, headers beside them, and zlib, which every program of ours links
#   apps                                  <ht/...> and the program's own directory
#   CUDA, oneDNN, BLAS                    below core/backend; pictures and JSON below apps and tools; zlib in core/store,
#                                         apps, examples
#
# Tests and benchmarks may include anything and are not looked at.
root=${1:?usage: layering.sh SOURCE_ROOT}
cd "$root" || exit 1

find include core autograd nn mlo apps tools examples -type f \
    \( -name '*.[ch]' -o -name '*.inl' -o -name '*.cu' -o -name '*.def' -o -name '*.def.in' \) 2>/dev/null | sort | awk '
function component(path, n,    part) { return split(path, part, "/") >= n ? part[n] : "" }
function starts(text, with) { return substr(text, 1, length(with)) == with }

# "a/b/../c" and "a/./c" without the dots
function tidy(path,    part, kept, n, m, i, text) {
    n = split(path, part, "/")
    m = 0
    for (i = 1; i <= n; i++) {
        if (part[i] == "..") m--
        else if (part[i] != ".") kept[++m] = part[i]
    }
    text = m > 0 ? kept[1] : ""
    for (i = 2; i <= m; i++) text = text "/" kept[i]
    return text
}

# the file that a quoted name means: beside the file, else on the include path core/ (for tools apps/ too); "" if none
function resolve(file, name,    own, path) {
    own = file
    sub("/[^/]*$", "", own)
    path = tidy(own "/" name)
    if (path in exists) return path
    path = tidy("core/" name)
    if (path in exists) return path
    if (path ".in" in exists) return path ".in" # made by Meson
    path = tidy("apps/" name)
    return starts(file, "tools/") && (path in exists) ? path : ""
}

function within_core(file, target,    from, to) {
    from = component(file, 2)
    to = component(target, 2)
    if (from == to && from != "backend") return 1
    if (from == "backend") {
        if (component(target, 3) == component(file, 3)) return 1
        return to == "base" || to == "kernel" || target == "core/tape/op.h" || target == "core/tape/attributes.h" ||
               target ~ "^core/backend/[^/]*$"
    }
    if (from == "kernel") return to == "base" || target == "core/tape/attributes.h"
    if (to == "backend") return (from == "plan" || from == "store") && target == "core/backend/backend.h"
    return (to in place) && (from in place) && place[to] < place[from]
}

function finding(rule, text) { found[rule] = found[rule] "# " where ": " text "\n" }

function look_at_system(file, name) {
    if (starts(name, "ht/")) {
        if (!(("include/" name) in exists)) finding(5, "<" name "> is not below include/ht")
    } else if (name ~ /^(cuda|cublas|cudnn|cub\/|thrust\/|nv|nccl|cufft|curand|dnnl|oneapi|cblas|lapacke|mkl|openblas)/) {
        if (!starts(file, "core/backend/")) finding(3, "<" name ">")
    } else if (name ~ /^(png|jpeglib|jerror|turbojpeg|tiff|gif_lib|nifti|znzlib|jansson|cjson|yyjson)/) {
        if (!starts(file, "apps/") && !starts(file, "tools/")) finding(4, "<" name ">")
    } else if (name == "zlib.h") {
        if (!starts(file, "apps/") && !starts(file, "examples/") && !starts(file, "core/store/")) finding(4, "<" name ">")
    }
}

function look_at_own(file, name,    target, from, to) {
    target = resolve(file, name)
    from = component(file, 1)
    to = component(target, 1)
    if (target == "") finding(5, "\"" name "\" is neither beside the file nor below core/")
    else if (to == "include") finding(5, "\"" name "\": public headers are included as <ht/...>")
    else if (from == "apps") {
        if (to != "apps" || component(target, 2) != component(file, 2))
            finding(6, "\"" name "\": an application sees <ht/...> and its own directory")
    } else if (from == "examples") {
        if (to != "examples") finding(1, "\"" name "\": an example sees <ht/...> and its own directory")
    } else if (from == "include")
        finding(1, "\"" name "\": only <ht/...> here")
    else if (from == "tools") {
        if (target ~ "^core/(plan|backend)/") finding(7, "\"" name "\" is not for tools")
    } else if (!(to in place) || place[to] > place[from])
        finding(1, "\"" name "\" lies to the right")
    else if (from == "core" && !within_core(file, target))
        finding(2, "\"" name "\" is not for core/" component(file, 2))
}

BEGIN {
    place["core"] = 1; place["autograd"] = 2; place["nn"] = 3; place["mlo"] = 4; place["apps"] = 5; place["tools"] = 6
    place["base"] = 1; place["tape"] = 2; place["store"] = 3; place["plan"] = 4
    rule[1] = "directories include leftwards only"
    rule[2] = "within core: base, tape, store, plan; a backend sees ops and kernels, and is seen through backend.h"
    rule[3] = "CUDA, oneDNN and BLAS only below core/backend"
    rule[4] = "pictures and JSON only below apps and tools, zlib below apps and examples and in core/store"
    rule[5] = "every include names one file that is there"
    rule[6] = "an application sees the public headers only"
    rule[7] = "tools see neither plans nor backends"
    rule[8] = "there are sources"
}
{ file[++files] = $0; exists[$0] = 1 }
END {
    if (files == 0) found[8] = "# nothing to look at\n"
    for (f = 1; f <= files; f++) {
        line = 0
        while ((getline text < file[f]) > 0) {
            line++
            if (text !~ /^[ \t]*#[ \t]*(include|define HT_BODY)/) continue
            if (file[f] == "core/kernel/reals.h" && text ~ /include HT_BODY/) continue # looked at where it is named
            where = file[f] ":" line
            name = text
            sub(/^[ \t]*#[ \t]*(include|define HT_BODY)[ \t]*/, "", name)
            mark = substr(name, 1, 1)
            name = substr(name, 2)
            sub(/[">].*$/, "", name)
            if (mark == "<") look_at_system(file[f], name)
            else if (mark == "\"") look_at_own(file[f], name)
            else finding(5, "a computed include cannot be checked")
        }
        close(file[f])
    }
    bad = 0
    for (r = 1; r <= 8; r++) {
        printf "%s %d - %s\n%s", found[r] == "" ? "ok" : "not ok", r, rule[r], found[r]
        if (found[r] != "") bad = 1
    }
    print "1..8"
    exit bad
}'
