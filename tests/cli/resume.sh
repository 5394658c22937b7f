#!/bin/sh
# Runs of the real program that are stopped and resumed end where the run ends that was let alone: the same state hash, log,
# architecture table, certificate, weights and metrics. Stopped by SIGTERM and SIGINT at several moments, also again and
# again, and by SIGKILL. And two runs alike are alike, for every method of the hypergradient. Usage: resume.sh GENSEG
. "$(dirname "$0")/tap.sh"
genseg=${1:?usage: resume.sh GENSEG}
case $genseg in /*) ;; *) genseg=$(pwd)/$genseg ;; esac
scratch=$(mktemp -d "${TMPDIR:-/tmp}/genseg-resume-XXXXXX") || exit 1
child=
trap 'test -n "$child" && kill -KILL "$child" 2>/dev/null; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
cd "$scratch" || exit 1
rounds=48
tiny="--seed 3 --threads 1 --set data.size=32 --set model.generator_width=2 --set model.generator_levels=3
    --set model.discriminator_width=2 --set model.discriminator_layers=1 --set model.unet_width=2 --set model.unet_depth=2
    --set run.picture_every=20"
whole="$tiny --rounds $rounds --certify 2,20 --set pretrain.steps=60 --set run.validate_every=1 --set run.checkpoint_every=7
    --set optimizer.segmenter.plateau_patience=2 --set optimizer.segmenter.plateau_factor=0.9"

# train RUN [options]: to its end, or until it is stopped; what it says is kept, and $code
train() {
    run=$1
    shift
    # shellcheck disable=SC2086 # options are words
    "$genseg" train phantom --out "$run" $options "$@" >"$run.out" 2>"$run.err"
    code=$?
}

# begin RUN [options]: in the background
begin() {
    run=$1
    shift
    # shellcheck disable=SC2086
    "$genseg" train phantom --out "$run" $options "$@" >"$run.out" 2>"$run.err" &
    child=$!
}

# stop SIGNAL: to the run in the background; its exit code is $code
stop() {
    kill -"$1" "$child" 2>/dev/null
    wait "$child" 2>/dev/null
    code=$?
    child=
}

# wait_until CONDITION: polled while the run in the background goes on
wait_until() {
    while ! eval "$1" 2>/dev/null; do
        kill -0 "$child" 2>/dev/null || return 1
        sleep 0.01
    done
}

rows() { if [ -f "$1/log.csv" ]; then wc -l <"$1/log.csv"; else echo 0; fi; }

hash_of() { sed -n 's/.*state hash \([0-9a-f]*\)$/\1/p' "$1.out"; }

# same RUN OTHER: everything that a run leaves but seconds, dates and the report
same() {
    difference=
    [ -n "$(hash_of "$1")" ] && [ "$(hash_of "$1")" = "$(hash_of "$2")" ] || difference="state hash"
    for table in "$1" "$2"; do cut -d, -f1,3- "$table/log.csv" >"$table.log"; done
    cmp -s "$1.log" "$2.log" || difference="$difference log.csv"
    for file in alpha.csv certificate.csv best.safetensors metrics.json cases.csv pictures/round-00001.png \
        "pictures/round-000$rounds.png" "checkpoints/round-0000$rounds/generator.safetensors" \
        "checkpoints/round-0000$rounds/segmenter-moments.safetensors"; do
        cmp -s "$1/$file" "$2/$file" || difference="$difference $file"
    done
    grep -q WARNING "$1.out" && difference="$difference a warning"
    [ -z "$difference" ]
}

# stopped_at NAME SIGNAL CONDITION [over]: a run that is stopped when the condition holds, and resumed. over: so late that
# it may be over before
stopped_at() {
    begin "$1"
    wait_until "$3"
    stop "$2"
    if [ "$2" = KILL ]; then expected=137; else expected=75; fi
    where=$(($(rows "$1") - 1))
    if [ "$4$code" = over0 ]; then
        echo "# $1: it was over before"
    elif [ "$2" != KILL ] || [ "$code" != 137 ]; then
        result "$([ "$code" = "$expected" ] && [ "$(wc -l <"$1.err")" = 1 ] && echo 1)" \
            "$1: exit code $code, $where rounds logged: $(cat "$1.err")"
    fi
    train "$1" --resume
    good=0
    same "$1" alone && good=1
    result $good "$1: resumed, it ends as the run that was let alone: $(cat "$1.err")$difference"
}

options=$whole
train alone
result "$([ "$code" = 0 ] && [ "$(rows alone)" = $((rounds + 1)) ] && echo 1)" \
    "a run that is let alone: $(hash_of alone) $(cat alone.err)"
train again
good=0
same again alone && good=1
result $good "a second one is the same in every bit: $(hash_of again) $difference"

stopped_at start TERM '[ -f start/config.toml ]'
stopped_at pretraining TERM 'grep -q "^pre-training 2" pretraining.out'
stopped_at rounds TERM '[ "$(rows rounds)" -gt 5 ]'
stopped_at interrupt INT '[ "$(rows interrupt)" -gt 18 ]'
stopped_at end USR1 '[ -d end/checkpoints/round-000048 ]' over
stopped_at killed KILL '[ -d killed/checkpoints/round-000007 ] && [ "$(rows killed)" -gt 10 ]'

# Where no kink lies between the ends, the certificate's difference is the derivative; f32 and f64 agree anyway.
off=$(awk -F, 'NR > 1 { rows++; if ($9 == 0) smooth++
    if ($4 > 1e-2 || ($9 == 0 && $8 > 1e-2)) print "line " NR ": " $0 }
    END { if (rows != 6 || smooth < 3) print rows " rows, " smooth " without kinks" }' alone/certificate.csv)
result "$([ -z "$off" ] && echo 1)" "the certificate holds: $off"

# again and again, a few rounds at a time
begin often
count=0
while wait_until '[ "$(rows often)" -gt $((count * 9 + 2)) ]'; do
    stop TERM
    [ "$code" = 75 ] || break
    count=$((count + 1))
    begin often --resume
done
[ -n "$child" ] && stop 0
train often --resume
good=0
same often alone && good=1
result "$([ $good = 1 ] && [ $count -ge 3 ] && echo 1)" "stopped $count times: it ends as the run that was let alone: $difference"

# With eta_a = 0 no method of the hypergradient leaves a trace in what is trained.
for method in none finite-difference eq9 total; do
    options="$tiny --rounds 5 --hypergradient $method --set optimizer.architecture.rate=0 --set pretrain.steps=3
        --set run.validate_every=2"
    train "pure-$method" --quiet
    good=$code
    for store in generator generator-moments discriminator discriminator-moments segmenter segmenter-moments architecture \
        clock; do
        cmp -s "pure-$method/checkpoints/round-000005/$store.safetensors" \
            "pure-none/checkpoints/round-000005/$store.safetensors" || good="$good $store"
    done
    result "$([ "$good" = 0 ] && echo 1)" "with eta_a = 0 $method trains the same bits as none: $good $(cat "pure-$method.err")"
done

options=$(echo "$whole" | sed 's/--threads 1/--threads 2/')
train two
train two-again
good=0
same two two-again && good=1
result $good "two runs of two threads are the same in every bit: $(hash_of two) $difference"
if same two alone; then echo "# one thread and two give equal bits"; else echo "# one thread and two differ in: $difference"; fi

echo "1..$number"
exit $bad
