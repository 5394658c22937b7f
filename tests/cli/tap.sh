# What the shell tests of programs share: numbered TAP results. Sourced, before any change of folder.
number=0
bad=0

# result GOOD TEXT
result() {
    number=$((number + 1))
    if [ "$1" = 1 ]; then
        echo "ok $number - $2"
    else
        bad=1
        echo "not ok $number - $2"
    fi
}
