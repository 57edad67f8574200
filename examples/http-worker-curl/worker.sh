#!/bin/sh
# A worker in shell: polls a dagnats server with curl, works on one task at a time.
#
#   DAGNATS_URL=http://127.0.0.1:8080 DAGNATS_BRIDGE_TOKEN=... ./worker.sh TASK_TYPE COMMAND [ARG...]
#
# COMMAND gets the task's input as JSON on standard input; what it prints as JSON is the output. An
# exit code other than 0 fails the attempt, 75 (EX_TEMPFAIL) asks to be tried again a little later,
# 64 (EX_USAGE) says that trying again cannot help. Needs curl and jq.
set -u

url=${DAGNATS_URL:-http://127.0.0.1:8080}
token=${DAGNATS_BRIDGE_TOKEN:-}
id=${DAGNATS_WORKER_ID:-curl-$$}
task_type=${1:?usage: worker.sh TASK_TYPE COMMAND [ARG...]}
shift
work=$(mktemp -d)
stop=
current=

trap 'rm -rf "$work"' EXIT
trap 'stop=1' INT TERM

# call PATH FILE: POST a JSON file, print the answer; keeps trying while the server is away.
call() {
    while :; do
        code=$(curl -sS -o "$work/answer" -w '%{http_code}' --max-time 90 \
            ${token:+-H "Authorization: Bearer $token"} -H 'Content-Type: application/json' \
            --data-binary "@$2" "$url$1" 2>/dev/null) || code=000
        case $code in
            200) cat "$work/answer"; return 0 ;;
            000 | 429 | 503) [ -n "$stop" ] && [ -z "$current" ] && return 1; sleep 0.3 ;;
            *) echo "$1: $code $(cat "$work/answer")" >&2; return 1 ;;
        esac
    done
}

# say TASK_ID FILE: report about a task.
say() { call "/v1/tasks/$1/resolve" "$2" >/dev/null; }

# heartbeat TASK_ID MS: a sign of life now and then, until killed.
heartbeat() {
    echo '{"action":"heartbeat"}' >"$work/heartbeat"
    while sleep "$(awk "BEGIN { print $2 / 2000 }")"; do
        curl -s -o /dev/null --max-time 10 ${token:+-H "Authorization: Bearer $token"} \
            --data-binary "@$work/heartbeat" "$url/v1/tasks/$1/resolve"
    done
}

# run COMMAND...: works on the task in $work/task.
run() {
    current=$(jq -r .task_id "$work/task")
    heartbeat "$current" "$(jq -r '.heartbeat_ms // 60000' "$work/task")" &
    pulse=$!
    jq -c '.input' "$work/task" | "$@" >"$work/output" 2>"$work/error"
    code=$?
    kill "$pulse" 2>/dev/null
    case $code in
        0) jq -c '{action: "complete", output: .}' "$work/output" >"$work/said" 2>/dev/null ||
            jq -n '{action: "fail", error: "the output is no JSON", failure_type: "non_retriable"}' \
                >"$work/said" ;;
        64) jq -Rs '{action: "fail", error: ., failure_type: "non_retriable"}' "$work/error" >"$work/said" ;;
        75) jq -Rs '{action: "fail", error: ., failure_type: "retry_after", retry_after_ms: 1000}' \
            "$work/error" >"$work/said" ;;
        *) jq -Rs --arg code "$code" '{action: "fail", error: (. + "exit code " + $code)}' \
            "$work/error" >"$work/said" ;;
    esac
    say "$current" "$work/said"
    current=
}

jq -n --arg type "$task_type" --arg id "$id" \
    '{task_types: [$type], max_tasks: 1, timeout_ms: 2000, worker_id: $id}' >"$work/poll"
while [ -z "$stop" ]; do
    call /v1/tasks/poll "$work/poll" >"$work/tasks" || continue
    if jq -e '.[0]' "$work/tasks" >"$work/task"; then
        run "$@"
    fi
done
