#!/bin/sh
# Sizes that keep the code readable: 600 lines in a file, 80 in a function, 130 characters in a line, 20,600 lines in core
# and autograd together; and no marks of unfinished work. Usage: limits.sh SOURCE_ROOT
root=${1:?usage: limits.sh SOURCE_ROOT}
cd "$root" || exit 1
number=0
bad=0

# result TEXT FINDINGS: passes if there are none
result() {
    number=$((number + 1))
    if [ -z "$2" ]; then
        echo "ok $number - $1"
    else
        bad=1
        echo "not ok $number - $1"
        echo "$2" | sed 's/^/# /'
    fi
}

# Not `git ls-files`: a file must obey before it is committed, and an unpacked archive has no git.
sources=$(find include core autograd nn mlo apps tools tests bench examples subprojects scripts quickstart check .ci/run \
    -type f \( -name '*.[ch]' -o -name '*.inl' -o -name '*.cu' -o -name '*.sh' -o -name '*.py' \
    -o -name quickstart -o -name check -o -path .ci/run \) 2>/dev/null | sort)
code=$(echo "$sources" | grep -E '\.([ch]|inl|cu)$')

result "there are sources" "$([ -n "$code" ] || echo 'nothing to look at')"

# shellcheck disable=SC2086 # no file name here has blanks
result "no file is over 600 lines" "$(awk 'FNR == 601 { print FILENAME ": over 600 lines" }' $sources)"

# In the C locale, where all awks count alike: a character beyond ASCII counts for each of its bytes.
# shellcheck disable=SC2086
result "no line is over 130 characters" "$(LC_ALL=C awk '
    length($0) > 130 { print FILENAME ":" FNR ": " length($0) " characters" }' $sources)"

# A function reaches from the first line of its head, at column 0, to the "}" at column 0. Its body opens by "{" at column
# 0 or after the head's ")"; the braces of types and tables close by "};" or "} NAME;", which are not counted.
# shellcheck disable=SC2086
result "no function is over 80 lines" "$(awk '
    FNR == 1 { head = begin = 0 }
    !begin && /^[A-Za-z_]/ { head = FNR }
    !begin && head && (/^[{] *$/ || /[)] *[{]$/) { begin = head }
    !begin && /;$/ { head = 0 }
    begin && /^[}]/ {
        if (/^[}] *$/ && FNR - begin + 1 > 80) printf "%s:%d: %d lines\n", FILENAME, begin, FNR - begin + 1
        head = begin = 0
    }' $code)"
# The pattern is written in two halves so that this file does not find itself.
# shellcheck disable=SC2086
result "nothing is marked unfinished" "$(grep -nE "\<(TO""DO|FIX""ME)\>" $sources /dev/null)"

lines=$(find core autograd -type f \( -name '*.[ch]' -o -name '*.inl' -o -name '*.cu' -o -name '*.def' \) \
    -exec cat {} + 2>/dev/null | wc -l)
result "core and autograd: $lines lines of 20,600" "$([ "$lines" -le 20600 ] || echo 'over the budget')"

echo "1..$number"
exit $bad
