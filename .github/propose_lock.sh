#!/usr/bin/env bash
# A pull request with the lock files of this working tree, when they differ from the branch that is checked out; one that
# is open already is brought up to date. Git and GitHub's `gh` with a login are all that it needs.
set -euo pipefail
cd "$(dirname "$0")/.."
branch=lock-refresh
files=(requirements.txt requirements-dev.txt)

if git diff --quiet HEAD -- "${files[@]}"; then
    echo "the lock is the newest already"
    exit 0
fi
gh auth setup-git
git switch --quiet --force-create "$branch"
git -c user.name="github-actions[bot]" -c user.email="41898282+github-actions[bot]@users.noreply.github.com" \
    commit --quiet --message "Lock the newest dependencies" -- "${files[@]}"
git push --quiet --force origin "$branch"
if [[ $(gh pr list --head "$branch" --state open --json number --jq length) == 0 ]]; then
    gh pr create --head "$branch" --base main --title "Lock the newest dependencies" \
        --body "Resolved anew by \`make lock\`. The stack was booted on it, and a run succeeded."
fi
# A push with a workflow's token starts no workflow; a dispatch does, and its checks belong to the same commit.
gh workflow run ci.yml --ref "$branch"
