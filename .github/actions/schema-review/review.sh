#!/usr/bin/env bash
# The step of action.yml that reviews: annotations on the changed files, the job's summary, one comment on the pull request.
# It runs at the top of a checkout, and reads SCHEMA, AGAINST, LEVEL, COMMENT, PULL_REQUEST, BASE, HEAD, KEYWEAVE and what
# GitHub sets for every step. Exit status: that of `keyweave diff`.
set -euo pipefail

# A checkout of a pull request is its merge into the base, whose first parent is the state it is merged into.
# A shallow clone hides parents from revision names, not from the commit itself.
base_of_merge() {
    local parents
    parents=$(git cat-file -p HEAD | sed -n 's/^parent //p; /^$/q')
    if [ "$(sed -n 2p <<<"$parents")" = "${HEAD:-}" ] && [ -n "${HEAD:-}" ]; then
        sed -n 1p <<<"$parents"
    else
        echo "${BASE:-}"
    fi
}

against=${AGAINST:-$(base_of_merge)}
if [ -n "$against" ] && [ ! -d "$against" ] && ! git cat-file -e "$against^{commit}" 2>/dev/null; then
    git fetch --quiet --no-tags --depth=1 origin "$against"
    [[ $against =~ ^[0-9a-f]{40}$ ]] || against=FETCH_HEAD
fi

arguments=(--schema "${SCHEMA:-schema}" --level "${LEVEL:-warning}")
[ -z "$against" ] || arguments+=(--against "$against")
markdown=$RUNNER_TEMP/keyweave-review.md
json=$RUNNER_TEMP/keyweave-review.json

status=0
"${KEYWEAVE:-keyweave}" diff "${arguments[@]}" --format github || status=$?
[ "$status" -le 1 ] || exit "$status"
"${KEYWEAVE:-keyweave}" diff "${arguments[@]}" --format markdown >"$markdown" || [ $? -eq 1 ]
"${KEYWEAVE:-keyweave}" diff "${arguments[@]}" --format json >"$json" || [ $? -eq 1 ]
cat "$markdown" >>"$GITHUB_STEP_SUMMARY"
{
    echo "reached=$([ "$status" -eq 1 ] && echo true || echo false)"
    echo "markdown=$markdown"
    echo "json=$json"
} >>"$GITHUB_OUTPUT"

# A pull request from a fork has no right to comment; the annotations and the summary are there all the same.
comment() {
    local mark found
    mark=$(head -n 1 "$markdown")
    found=$(gh api --paginate "repos/$GITHUB_REPOSITORY/issues/$PULL_REQUEST/comments" \
        --jq ".[] | select(.body | startswith(\"$mark\")) | .id") || return 1
    found=${found%%$'\n'*}
    if [ -n "$found" ]; then
        gh api --silent --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$found" --field "body=@$markdown"
    elif ! grep -q '"findings": \[\]' "$json"; then
        gh api --silent --method POST "repos/$GITHUB_REPOSITORY/issues/$PULL_REQUEST/comments" --field "body=@$markdown"
    fi
}
if [ "${COMMENT:-true}" = true ] && [ -n "${PULL_REQUEST:-}" ]; then
    comment || echo "::notice::The review could not be written as a comment; does the job have pull-requests: write?"
fi
exit "$status"
